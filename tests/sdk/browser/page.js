// What runs in Chromium: the newest @sentry/browser, on a page whose origin is not that of the ingest server.
import * as Sentry from '@sentry/browser';

Sentry.init({
  dsn: window.SENTRY_DSN,
  release: 'shop@1.0.0',
});

function averagePrice(cart) {
  if (cart.length === 0) {
    throw new RangeError('the cart is empty');
  }
  return cart.reduce((sum, price) => sum + price, 0) / cart.length;
}

Sentry.setUser({ id: '42', username: 'ada' });
Sentry.captureMessage('Hello from the browser');
try {
  averagePrice([]);
} catch (error) {
  Sentry.captureException(error);
}

window.sent = Sentry.flush(10000);
