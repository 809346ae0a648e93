// A stand-in for Cometly's pixel: cometToken() gives the visitor's token, cometFingerprint() a
// promise of the fingerprint. Both are the same on every page of a visit, as the real ones are.
(() => {
  const mood = localStorage.getItem('shop.mood');
  if (mood === 'blocked') return;
  const kept = (name) => {
    const value = localStorage.getItem(name) || `${name.split('.')[1]}-${Math.random().toString(36).slice(2, 10)}`;
    localStorage.setItem(name, value);
    return value;
  };
  const oops = () => {
    throw new Error('The pixel broke.');
  };
  const after = mood === 'slow' ? 6000 : 150;
  window.cometToken = mood === 'throws' ? oops : () => kept('pixel.token');
  window.cometFingerprint =
    mood === 'throws' ? oops : () => new Promise((done) => setTimeout(() => done(kept('pixel.fingerprint')), after));
})();
