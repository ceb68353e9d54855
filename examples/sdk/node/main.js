// Reports a message and an exception to the project that SENTRY_DSN names.
const Sentry = require('@sentry/node');

Sentry.init({
  // No dsn here: the SDK takes SENTRY_DSN from the environment.
  release: 'shop@1.0.0',
  debug: process.env.SENTRY_DEBUG === '1',
});

function averagePrice(cart) {
  if (cart.length === 0) {
    throw new RangeError('the cart is empty');
  }
  return cart.reduce((sum, price) => sum + price, 0) / cart.length;
}

Sentry.setUser({ id: '42', username: 'ada' });
Sentry.captureMessage('Hello from Node');
try {
  averagePrice([]);
} catch (error) {
  Sentry.captureException(error);
}

// Events are sent in the background: a program that ends waits for them.
Sentry.flush(10000).then((sent) => process.exit(sent ? 0 : 1));
