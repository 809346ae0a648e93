// Small ways to build elements. Text goes in as text, whatever an event holds: nothing is parsed.

const SVG = 'http://www.w3.org/2000/svg';

export const byId = (id) => document.getElementById(id);

const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
};

/** An HTML element; children are nodes or text. */
export const make = (name, attributes = {}, ...children) =>
  fill(document.createElement(name), attributes, children);

/** An SVG element. */
export const draw = (name, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);

/** A time of day, to the second; milliseconds where two events may share one. */
export const clock = (seconds, exact = false) => {
  const at = new Date(seconds * 1e3);
  const text = at.toLocaleTimeString([], { hourCycle: 'h23', hour: '2-digit', minute: '2-digit', second: '2-digit' });
  return exact ? `${text}.${String(at.getMilliseconds()).padStart(3, '0')}` : text;
};

/** Any JSON value on one line or, where it has members, on several. */
export const shown = (value) => (typeof value === 'string' ? value : JSON.stringify(value, null, 1));

/** Ask the control API; an answer that is an error throws what its message says. */
export const ask = async (path, method = 'GET', body = undefined) => {
  const answer = await fetch('/_sandbox/' + path, {
    method,
    body: body === undefined ? undefined : JSON.stringify(body),
    headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
  });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.message);
  return content;
};
