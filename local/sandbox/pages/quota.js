// The gauge of this minute and the chart of the last ten, drawn as SVG.

import { byId, clock, draw } from '/dom.js';

const SPAN = 10; // seconds a bar: what the sandbox counts by
const BARS = 60;
const WIDTH = 320;
const HEIGHT = 110;
const BASE = HEIGHT - 16;
const STACK = ['booked', 'duplicate', 'refused', 'unanswered'];

/** Show how much of the limit is taken, and whether a fault stands before it. */
export const showQuota = ({ quota, faults }) => {
  const { used, limit, window } = quota;
  const gauge = byId('gauge');
  const share = Math.min(1, used / limit);
  gauge.dataset.level = share >= 1 ? 'full' : share >= 0.8 ? 'high' : 'low';
  gauge.setAttribute('aria-valuenow', Math.min(used, limit));
  gauge.setAttribute('aria-valuemax', limit);
  gauge.setAttribute('aria-valuetext', `${used} of ${limit}`);
  gauge.querySelector('.used').style.strokeDasharray = `${share * 100} 200`;
  gauge.querySelector('.number').textContent = used;
  gauge.querySelector('.of').textContent = `of ${limit}`;
  const mood = byId('mood');
  const fault = faults.find((rule) => rule.times === 'always' || rule.applied < rule.times);
  const full = used >= limit;
  mood.dataset.level = fault || full ? 'bad' : 'good';
  const text = fault ? `misbehaves: ${nameOf(fault)}`
    : full ? 'the limit is reached: 429'
    : window === 'fixed' ? 'answers normally, counts by the clock’s minute'
    : 'answers normally';
  // A status line is read out when it changes, and not each second.
  if (mood.textContent !== text) mood.textContent = text;
};

/** What a fault is called: its switch, or its kind and status. */
export const nameOf = (rule) => rule.label || `${rule.kind.replaceAll('_', ' ')}${rule.kind === 'status' ? ` ${rule.status}` : ''}`;

/** Draw a bar for each ten seconds, stacked by outcome, under the line of the limit. */
export const showTimeline = ({ timeline, quota }) => {
  const newest = Math.floor(Date.now() / 1e3 / SPAN);
  const bars = timeline.map((span) => ({ ...span, age: newest - span.at / SPAN })).filter(({ age }) => age < BARS);
  const total = (span) => STACK.reduce((sum, name) => sum + (span[name] || 0), 0);
  const most = Math.max(4, ...bars.map(total));
  const limit = (quota.limit * SPAN) / 60;
  // The line of a limit that nobody comes near would press the bars flat.
  const top = limit <= most * 3 ? Math.max(most, limit) * 1.1 : most * 1.15;
  const y = (count) => BASE - (count / top) * (BASE - 8);
  const step = WIDTH / BARS;
  const chart = byId('chart');
  byId('limit-legend').hidden = limit > top;
  chart.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  chart.replaceChildren(
    ...[0.5, 1].map((part) => draw('path', { class: 'grid', d: `M0 ${y((top * part) / 1.15)}h${WIDTH}` })),
    draw('path', { class: 'axis', d: `M0 ${BASE}h${WIDTH}` }),
    ...bars.flatMap((span) => stack(span, WIDTH - (Math.max(0, span.age) + 1) * step, step, y)),
    ...(limit <= top ? [draw('path', { class: 'limit', d: `M0 ${y(limit)}h${WIDTH}` })] : []),
    draw('text', { x: 0, y: HEIGHT - 3 }, '10 min ago'),
    draw('text', { x: WIDTH / 2, y: HEIGHT - 3, 'text-anchor': 'middle' }, '5 min'),
    draw('text', { x: WIDTH, y: HEIGHT - 3, 'text-anchor': 'end' }, 'now'),
    draw('text', { x: 0, y: y(top / 1.15) - 3 }, `${Math.round(top / 1.15)} in 10 s`),
  );
  const sums = STACK.map((name) => `${bars.reduce((sum, span) => sum + (span[name] || 0), 0)} ${name}`);
  chart.setAttribute('aria-label', `Requests of the last ten minutes: ${sums.join(', ')}`);
};

const stack = (span, x, step, y) => {
  let below = 0;
  const parts = STACK.filter((name) => span[name]).map((name) => {
    const bottom = y(below);
    below += span[name];
    const rect = { class: name, x: x + 0.6, y: y(below), width: step - 1.2, height: bottom - y(below), rx: 0.8 };
    return draw('rect', rect);
  });
  const told = STACK.filter((name) => span[name]).map((name) => `${span[name]} ${name}`);
  return [draw('g', {}, draw('title', {}, `${clock(span.at)}: ${told.join(', ')}`), ...parts)];
};
