/* Cometly Forwarder: cometlyForwarder.track(eventName, fields). Docs: docs/browser.md */
(function (w, d) {
  'use strict';
  var early = w.cometlyForwarder || {};
  if (early.version) return;
  var tag = d.currentScript;
  var endpoint = early.endpoint || (tag && tag.src ? tag.src.replace(/\/client\.js.*$/, '/collect') : '/collect');
  var STORE = 'cometlyForwarder';
  var KEPT = 50, DAY = 864e5, PATIENCE = 3000;
  var memory = [], flying = {}, last = '', lastAt = 0, fails = 0, timer;

  function load() {
    try { return JSON.parse(localStorage.getItem(STORE)) || []; } catch (e) { return memory; }
  }
  function save(list) {
    memory = list.slice(-KEPT);
    try { localStorage.setItem(STORE, JSON.stringify(memory)); } catch (e) { /* memory has them */ }
  }
  function forget(id) { save(load().filter(function (x) { return x.id !== id; })); }
  function update(item) {
    save(load().map(function (x) { return x.id === item.id ? item : x; }));
  }
  function uuid() {
    if (w.crypto && crypto.randomUUID) return crypto.randomUUID();
    return 'cf-' + Date.now().toString(36) + Math.random().toString(36).slice(2) + Math.random().toString(36).slice(2);
  }
  function wait(ms) { return new Promise(function (go) { setTimeout(go, ms); }); }

  /* The pixel may be late, absent, broken or blocked; it may give a value, a promise or neither. */
  function ask(name, until) {
    return Promise.resolve().then(function () {
      var it = w[name];
      return Promise.race([typeof it === 'function' ? it() : it, wait(Math.max(0, until - Date.now()))]);
    }).catch(function () {}).then(function (value) {
      if (typeof value === 'string' && value) return value;
      if (Date.now() < until) return wait(100).then(function () { return ask(name, until); });
    });
  }
  function identify(item) {
    var e = item.e, until = Date.now() + PATIENCE;
    return Promise.all([e.comet_token || ask('cometToken', until), e.fingerprint || ask('cometFingerprint', until)])
      .then(function (got) {
        if (got[0]) e.comet_token = got[0];
        if (got[1]) e.fingerprint = got[1];
        update(item);
        return known(e);
      });
  }
  function known(e) { return e.email || e.comet_token || e.fingerprint; }

  function body(item) {
    var age = Date.now() - item.at;
    if (age > 6e4 && !item.e.event_time) item.e.event_time = Math.floor(item.at / 1000);
    return JSON.stringify(item.e);
  }
  function send(item) {
    /* text/plain needs no preflight; keepalive outlives the page. */
    return fetch(endpoint, {
      method: 'POST', body: body(item), keepalive: true, credentials: 'omit',
      headers: { 'Content-Type': 'text/plain' }
    }).then(function (r) {
      if (r.status === 429 || r.status >= 500) throw r.headers.get('Retry-After');
      fails = 0;
      forget(item.id);
      return r.ok;
    });
  }
  function later(hint) {
    var ms = Math.max((+hint || 0) * 1000, Math.min(6e4, 1000 * Math.pow(2, fails++)) * (0.5 + Math.random() / 2));
    clearTimeout(timer);
    timer = setTimeout(flush, ms);
  }
  function deliver(item) {
    if (flying[item.id]) return flying[item.id];
    var go = identify(item).then(function (ok) { return !!ok && send(item); })
      .catch(function (hint) { later(typeof hint === 'string' ? hint : 0); return false; })
      .then(function (ok) { delete flying[item.id]; return ok; });
    return (flying[item.id] = go);
  }
  function flush() {
    load().forEach(function (item) {
      if (Date.now() - item.at > DAY) forget(item.id); else deliver(item);
    });
  }
  function leave() {
    load().forEach(function (item) {
      try {
        if (known(item.e)) navigator.sendBeacon(endpoint, new Blob([body(item)], { type: 'text/plain' }));
      } catch (e) { /* the next page sends it */ }
    });
  }

  function track(name, fields) {
    try {
      var e = JSON.parse(JSON.stringify(fields || {})), now = Date.now();
      e.event_name = name;
      e.url = e.url || location.href;
      var same = JSON.stringify(e);
      if (same === last && now - lastAt < 1000) return Promise.resolve(false);
      last = same; lastAt = now;
      if (!e.idempotency_key && !e.order_id && !e.order_name) e.idempotency_key = uuid();
      var item = { id: uuid(), at: now, e: e };
      save(load().concat(item));
      return deliver(item);
    } catch (x) { return Promise.resolve(false); }
  }

  w.cometlyForwarder = { track: track, endpoint: endpoint, version: 1 };
  w.addEventListener('online', flush);
  w.addEventListener('pagehide', leave);
  flush();
  (early.q || []).forEach(function (a) { track(a[0], a[1]); });
})(window, document);
