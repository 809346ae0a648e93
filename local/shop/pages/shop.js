// What a shop does: a cart in sessionStorage, and one call of track() for each step of the funnel.
const PRICE = 89;
const at = (id) => document.getElementById(id);
const dollars = (amount) => `$${amount.toFixed(2)}`;
const pieces = () => Number(sessionStorage.getItem('shop.pieces') || 0);
const { track } = window.cometlyForwarder || { track() {} };

at('count').textContent = pieces() || '';

const screens = {
  '/'() {
    track('view_content', { amount: PRICE });
    at('add').onclick = () => {
      sessionStorage.setItem('shop.pieces', pieces() + 1);
      at('count').textContent = pieces();
      track('add_to_cart', { amount: PRICE });
    };
  },
  '/cart'() {
    const empty = !pieces();
    at('cart').hidden = at('to-checkout').hidden = empty;
    at('empty').hidden = !empty;
    const row = at('cart').tBodies[0].insertRow();
    for (const text of ['Desk lamp “Ember”', pieces(), dollars(pieces() * PRICE)]) row.insertCell().textContent = text;
    at('total').textContent = dollars(pieces() * PRICE);
    at('to-checkout').onclick = () => track('initiate_checkout', { amount: pieces() * PRICE });
  },
  '/checkout'() {
    at('total').textContent = dollars(pieces() * PRICE);
    at('order').onsubmit = (event) => {
      event.preventDefault();
      const order = {
        ...Object.fromEntries(new FormData(event.target)),
        amount: pieces() * PRICE,
        order_id: `DEMO-${Date.now().toString(36).toUpperCase()}`,
      };
      sessionStorage.setItem('shop.order', JSON.stringify(order));
      sessionStorage.removeItem('shop.pieces');
      location.href = '/thank-you';
    };
  },
  '/thank-you'() {
    const order = JSON.parse(sessionStorage.getItem('shop.order') || 'null');
    if (!order) return;
    at('order-id').textContent = order.order_id;
    at('paid').textContent = dollars(order.amount);
    track('purchase', order);
  },
};
screens[location.pathname]();

at('mood').value = localStorage.getItem('shop.mood') || '';
at('mood').onchange = () => {
  localStorage.setItem('shop.mood', at('mood').value);
  location.reload();
};

const NAMED = ['email', 'order_id', 'amount', 'comet_token', 'fingerprint', 'ip'];

function entry(event) {
  const item = document.createElement('li');
  const head = document.createElement('strong');
  const time = document.createElement('time');
  const list = document.createElement('dl');
  head.textContent = event.fields.event_name;
  time.textContent = new Date(event.received_at * 1000).toLocaleTimeString();
  for (const name of NAMED.filter((field) => event.fields[field] != null)) {
    list.append(document.createElement('dt'), document.createElement('dd'));
    [list.children[list.children.length - 2].textContent, list.lastChild.textContent] = [name, event.fields[name]];
  }
  if (event.duplicate_of != null) item.className = 'duplicate';
  item.append(head, time, list);
  return item;
}

let shown = '';
async function watch() {
  try {
    const { events, sandbox_url: sandbox, cometly_url: cometly } = await (await fetch('/arrived')).json();
    const now = events.map((event) => event.id).join();
    if (now !== shown) at('arrived').replaceChildren(...events.reverse().map(entry));
    shown = now;
    at('note').hidden = events.length > 0;
    at('note').textContent = sandbox
      ? 'Nothing yet. Click through the shop.'
      : `Events go to ${cometly}; there is no sandbox to look into.`;
  } catch {
    at('note').hidden = false;
    at('note').textContent = 'The sandbox does not answer.';
  }
  setTimeout(watch, 700);
}
watch();
