# Reports a message and an exception to the project that SENTRY_DSN names.
require "sentry-ruby"

Sentry.init do |config|
  # No dsn here: the SDK takes SENTRY_DSN from the environment.
  config.release = "shop@1.0.0"
  config.debug = ENV["SENTRY_DEBUG"] == "1"
  # A script ends at once, so it sends each event before it goes on. A server leaves this line out.
  config.background_worker_threads = 0
end

def average_price(cart)
  raise ArgumentError, "the cart is empty" if cart.empty?

  cart.sum / cart.size
end

Sentry.set_user(id: "42", username: "ada")
Sentry.capture_message("Hello from Ruby")
begin
  average_price([])
rescue ArgumentError => error
  Sentry.capture_exception(error)
end
