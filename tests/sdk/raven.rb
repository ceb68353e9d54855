# Reports a message and an exception with the client from before sentry-ruby.
require "raven"

Raven.configure do |config|
  # No dsn here: the client takes SENTRY_DSN from the environment.
  config.release = "shop@1.0.0"
end

def average_price(cart)
  raise ArgumentError, "the cart is empty" if cart.empty?

  cart.sum / cart.size
end

Raven.user_context(id: "42", username: "ada")
Raven.capture_message("Hello from raven-ruby")
begin
  average_price([])
rescue ArgumentError => error
  Raven.capture_exception(error)
end
