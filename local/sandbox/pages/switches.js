// The switches that make Cometly misbehave: rules of the sandbox's fault control, known by label.

import { ask, byId, make } from '/dom.js';
import { nameOf } from '/quota.js';

const SWITCHES = [
  { label: '429', title: 'Too many requests', hint: 'with Retry-After: 10', rule: { kind: 'status', status: 429, retry_after: 10 } },
  { label: '401', title: 'Token refused', hint: 'as after a rotation', rule: { kind: 'status', status: 401 } },
  { label: '403', title: 'Plan inactive', hint: 'the Space is blocked', rule: { kind: 'status', status: 403 } },
  { label: '503', title: 'Out of order', hint: 'any 5xx is tried again', rule: { kind: 'status', status: 503 } },
  { label: 'slow', title: 'Slow', hint: 'books, answers for about 4 s', rule: { kind: 'drip', seconds_per_byte: 0.07 } },
  { label: 'cut', title: 'Cut', hint: 'books, then hangs up', rule: { kind: 'process_then_cut' } },
  { label: 'HTML', title: 'An HTML page', hint: 'a proxy’s 200, nothing booked', rule: { kind: 'html_200' } },
  { label: 'lost', title: 'Forgets', hint: '202, and never recorded', rule: { kind: 'forget' } },
  { label: 'sum', title: 'Another amount', hint: 'records 1 more than was sent', rule: { kind: 'other_amount', more: 1 } },
  { label: 'twice', title: 'Records twice', hint: 'one event, two records', rule: { kind: 'record_twice' } },
];

const rows = new Map();

/** Put the switches on the page; what they say comes from the sandbox. */
export const startSwitches = () => {
  for (const it of SWITCHES) {
    const state = make('span', { class: 'state', id: `switch-${it.label}-state` }, 'off');
    const button = make(
      'button',
      { type: 'button', role: 'switch', 'aria-checked': 'false', 'aria-describedby': state.id },
      make('span', { class: 'knob', 'aria-hidden': 'true' }),
      make('span', { class: 'code' }, it.label),
      make('span', { class: 'title' }, it.title, make('small', {}, it.hint)),
    );
    button.addEventListener('click', () => toggle(it, button));
    rows.set(it.label, { button, state });
    byId('switches').append(make('li', {}, button, state));
  }
  byId('others').querySelector('button').addEventListener('click', () => ask('faults', 'DELETE').then(showFaults));
  byId('times').addEventListener('input', () => {
    document.querySelector('[name=times][value=count]').checked = true;
  });
};

const toggle = async ({ label, rule }, button) => {
  const on = button.getAttribute('aria-checked') === 'true';
  button.disabled = true;
  try {
    let faults = await ask(`faults?label=${label}`, 'DELETE');
    if (!on) faults = await ask('faults', 'POST', [{ ...rule, label, times: wantedTimes() }]);
    showFaults(faults);
  } catch (error) {
    rows.get(label).state.textContent = error.message;
  } finally {
    button.disabled = false;
    button.focus();
  }
};

const wantedTimes = () => {
  const count = document.querySelector('[name=times]:checked').value === 'count';
  return count ? Math.max(1, Math.trunc(+byId('times').value) || 1) : 'always';
};

const isActive = (rule) => rule.times === 'always' || rule.applied < rule.times;

/** Show which switches are on and how long they stay so; and the rules that came another way. */
export const showFaults = (faults) => {
  for (const [label, { button, state }] of rows) {
    const rule = faults.findLast((each) => each.label === label);
    const on = Boolean(rule && isActive(rule));
    button.setAttribute('aria-checked', on);
    const text = !rule ? 'off' : on ? remaining(rule) : `off, after ${rule.applied}`;
    if (state.textContent !== text) state.textContent = text;
  }
  const others = faults.filter((rule) => !rows.has(rule.label) && isActive(rule));
  byId('others').hidden = !others.length;
  byId('others').querySelector('span').textContent = `Also on: ${others.map(nameOf).join(', ')}.`;
};

const remaining = ({ times, applied }) =>
  times === 'always' ? `on, ${applied} so far` : `on for ${times - applied} more`;
