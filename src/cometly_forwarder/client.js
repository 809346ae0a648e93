// cometlyForwarder.track(eventName, fields). How and why: docs/browser.md
((w, d) => {
  const api = (w.cometlyForwarder = w.cometlyForwarder || {});
  if (api.version) return;

  const PREFIX = 'cometlyForwarder.';
  const PATIENCE = 3e3; // with the pixel
  const LEASE = 15e3; // before other tabs take over
  const LONGEST = 6e5; // between tries
  const mine = {}; // in localStorage too
  const flying = {};
  const pixel = {};
  const recent = {};
  let timer, warned, gone;

  const on = (name, f) => w.addEventListener(name, f, true);
  const quietly = (f) => {
    try {
      return f();
    } catch {}
  };
  const endpoint = api.endpoint || quietly(() => new URL('collect', d.currentScript.src).href);
  const has = (e, ...names) => names.filter((name) => (e[name] ?? '') !== '').length;
  const random = () => crypto.getRandomValues(new Uint32Array(4)).join('-');
  const stored = () => Object.keys(localStorage).filter((id) => id.startsWith(PREFIX)).sort();
  const save = (item) => {
    item.hold = !gone ? item.next + LEASE : item.sent ? item.next : 0;
    item.lost = !quietly(() => (localStorage[item.id] = JSON.stringify(item)));
  };
  const each = (f) => Object.values(mine).map(f);
  const forget = (id) => {
    delete mine[id];
    quietly(() => localStorage.removeItem(id));
  };

  const ask = async (name, field, pause) => {
    try {
      const value = await (typeof w[name] == 'function' ? w[name]() : w[name]);
      if (value && typeof value == 'string') {
        pixel[field] = value;
        return pump();
      }
    } catch {}
    setTimeout(ask, pause, name, field, Math.min(pause * 1.5, 5e3));
  };
  const identified = (item) => {
    const e = item.e;
    if (item.sent) return 1; // as it is
    for (const field in pixel) if (!has(e, field)) e[field] = pixel[field];
    if (has(e, 'comet_token', 'fingerprint') > 1) item.next = 0;
    return has(e, 'email', 'comet_token', 'fingerprint');
  };
  const sealed = (item) => {
    const now = Date.now();
    if (now - item.at > 6e4 && !has(item.e, 'event_time')) item.e.event_time = Math.floor(item.at / 1e3);
    item.sent = 1;
    item.next = now + 5e3;
    save(item);
    return new Blob([JSON.stringify(item.e)], { type: 'text/plain' }); // no preflight
  };
  const send = async (item) => {
    let wait = 1;
    flying[item.id] = 1;
    try {
      const body = sealed(item);
      const { ok, status, headers } = await fetch(endpoint, { method: 'POST', body, keepalive: body.size < 6e4 });
      if (status == 429 || status > 499) wait = headers.get('Retry-After') * 1e3 || 1;
      else {
        forget(item.id);
        item.done?.(ok);
        if (!ok && !warned) console.warn('cometlyForwarder: event refused', (warned = status));
      }
    } catch {}
    if (mine[item.id]) {
      wait = Math.max(wait, 2 ** ++item.tries * (500 + 500 * Math.random()));
      item.next = Date.now() + Math.min(LONGEST, wait);
      save(item);
    }
    delete flying[item.id];
    pump();
  };

  const pump = () => {
    const now = Date.now();
    let soonest = LONGEST;
    const due = (wait) => {
      if (wait <= 0 || wait > LONGEST + LEASE) return 1; // the clock was put back
      soonest = Math.min(soonest, wait);
    };
    quietly(() =>
      stored().map((id) => {
        const item = mine[id] || JSON.parse(localStorage[id]);
        if (mine[id] || !due(item.hold - now)) return;
        mine[id] = item;
        if (!item.sent) item.next = now + PATIENCE;
        save(item);
      }),
    );
    each((item) => {
      if (now - item.at > 2592e5) forget(item.id);
      else if (!item.lost && !localStorage[item.id]) delete mine[item.id]; // sent by another tab
      else if (!flying[item.id] && identified(item) && due(item.next - now)) send(item);
    });
    clearTimeout(timer);
    timer = setTimeout(pump, soonest);
  };
  const leave = () =>
    each((item) => {
      if (!item.sent && identified(item)) navigator.sendBeacon?.(endpoint, sealed(item));
      save(item);
    });

  api.version = 1;
  api.track = async (name, fields) => {
    if (d.prerendering) await new Promise((go) => on('prerenderingchange', go));
    try {
      const same = JSON.stringify({ url: location.href, ...fields, event_name: name });
      if (recent[same]) return recent[same];
      const at = Date.now();
      const item = { id: PREFIX + at + random(), at, next: at + PATIENCE, tries: 0, e: JSON.parse(same) };
      if (!has(item.e, 'idempotency_key', 'order_id', 'order_name')) item.e.idempotency_key = random();
      quietly(() => stored().slice(0, -49).map(forget));
      mine[item.id] = item;
      save(item);
      setTimeout(() => delete recent[same], 1e3);
      recent[same] = new Promise((done) => setTimeout((item.done = done), 1e4, false));
      pump();
      return recent[same];
    } catch {
      return false;
    }
  };
  for (const call of api.q || []) api.track(...call);

  on('online', () => pump(each((item) => (item.next = 0))));
  on('pageshow', () => pump((gone = 0)));
  on('pagehide', () => leave((gone = 1)));
  on('visibilitychange', () => d.hidden && leave());
  ask('cometToken', 'comet_token', 100);
  ask('cometFingerprint', 'fingerprint', 100);
  pump();
})(window, document);
