// See docs/browser.md
(() => {
  const api = (window.cometlyForwarder = window.cometlyForwarder || {});
  if (api.version) return;

  const PREFIX = 'cometlyForwarder.';
  const PATIENCE = 3e3; // with the pixel
  const LEASE = 15e3;
  const mine = {}; // in storage too, if there is room
  const pixel = {};
  const recent = {};
  let warned, gone, pause = 0;

  const on = (name, f) => addEventListener(name, f, true);
  const quietly = (f) => {
    try {
      return f();
    } catch {}
  };
  const warn = (why) => {
    if (!warned) console.warn('cometlyForwarder: ' + why);
    warned = 1;
  };
  const endpoint = api.endpoint || quietly(() => /(.+)client\.js/.exec(document.currentScript.src)[1] + 'collect');
  // Blank is absent: so says the stack.
  const has = (e, ...names) => names.filter((name) => /\S/.test(e[name] ?? '')).length;
  const each = (f) => Object.values(mine).map((item) => quietly(() => f(item)));
  const stored = () => Object.keys(localStorage).filter((id) => id.startsWith(PREFIX)).sort();
  const save = (item) =>
    quietly(() => {
      item.hold = (item.next || Date.now()) + (gone ? 0 : LEASE);
      localStorage[item.id] = JSON.stringify(item);
      const ids = stored();
      if (ids[50]) localStorage.removeItem(ids.find((id) => !/"order_/.test(localStorage[id])) || ids[0]);
      return localStorage[item.id];
    });
  const forget = (id) => {
    delete mine[id];
    quietly(() => localStorage.removeItem(id));
  };

  const ask = async (name, field) => {
    try {
      const value = await (window[name].call ? window[name]() : window[name]);
      if (value.trim()) return pump((pixel[field] = value));
    } catch {}
    setTimeout(ask, (pause = 50 + (pause % 2e3)), name, field);
  };
  const ready = (item) => {
    const e = item.e;
    if (!endpoint || item.tries) return endpoint;
    for (const field in pixel) if (!has(e, field)) e[field] = pixel[field];
    if (has(e, 'comet_token', 'fingerprint') > 1) item.next = 0;
    return has(e, 'email', 'comet_token', 'fingerprint');
  };
  const sealed = (item) => {
    const now = Date.now();
    item.tries++;
    item.next = now + 5e3;
    save(item);
    return JSON.stringify({ ...item.e, seconds_ago: (now - item.at) / 1e3 });
  };
  const send = async (item) => {
    let wait = 2 ** item.tries * (500 + 500 * Math.random());
    try {
      const body = sealed(item);
      const answer = fetch(endpoint, { method: 'POST', body, keepalive: body.length < 2e4 });
      item.next = NaN; // on its way
      const { ok, status, headers } = await answer;
      if (ok || [400, 413, 422].includes(status)) {
        forget(item.id);
        item.done?.(ok);
        if (!ok) warn('event refused ' + status);
      } else wait += headers.get('Retry-After') * 1e3 || 0;
    } catch {}
    item.next = Date.now() + Math.min(6e5, wait);
    if (mine[item.id]) save(item);
  };

  const pump = () => {
    const now = Date.now();
    quietly(() =>
      stored().map((id) => {
        if (mine[id]) return;
        const item = quietly(() => JSON.parse(localStorage[id]));
        if (item?.id != id) forget(id);
        else if (item.hold <= now || item.at > now) {
          mine[id] = item;
          item.next = now + PATIENCE;
          save(item);
        }
      }),
    );
    each((item) => {
      if (item.at > now) item.at = item.next = now; // the clock was put back
      if (now - item.at > 2592e5 && !item.done) forget(item.id);
      else if (ready(item) && item.next <= now) send(item);
    });
  };
  const leave = () =>
    each((item) => {
      const kept = save(item);
      if (ready(item) && !(kept && item.tries)) navigator.sendBeacon?.(endpoint, sealed(item)) || send(item);
      if (gone && kept) delete mine[item.id]; // the next page's
    });

  api.version = 1;
  api.track = async (name, fields) => {
    if (document.prerendering) await new Promise((go) => on('prerenderingchange', go));
    try {
      const same = JSON.stringify({ url: location.href, ...fields, event_name: name });
      if (recent[same]) return recent[same];
      const at = Date.now();
      const id = PREFIX + at + crypto.getRandomValues(new Uint32Array(4)).join('-');
      const item = (mine[id] = { id, at, next: at + PATIENCE, tries: 0, e: JSON.parse(same) });
      if (!has(item.e, 'idempotency_key', 'order_id', 'order_name')) item.e.idempotency_key = id;
      save(item);
      setTimeout(() => delete recent[same], 1e3);
      recent[same] = new Promise((done) => setTimeout((item.done = done), 1e4, false));
      pump();
      return recent[same];
    } catch (error) {
      warn(error);
      return false;
    }
  };
  const queue = api.q || [];
  queue.push = ([name, fields, done]) => done(api.track(name, fields)); // the stub's
  queue.forEach(queue.push);

  on('storage', ({ key, newValue }) => newValue ?? delete mine[key]);
  on('online', () => pump(each((item) => (item.next = 0))));
  on('pageshow', () => (gone = 0));
  on('pagehide', () => leave((gone = 1)));
  on('visibilitychange', () => document.hidden && !gone && leave());
  ask('cometToken', 'comet_token');
  ask('cometFingerprint', 'fingerprint');
  if (!endpoint) warn('no endpoint');
  setInterval(pump, 1e3);
})();
