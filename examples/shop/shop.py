"""A shop whose checkout fails: on an empty cart, and on an article that is not in the price list."""

import sentry_sdk
from flask import Flask, request

# No arguments: the SDK takes SENTRY_DSN from the environment.
sentry_sdk.init()

PRICES = {"apple": 40, "pear": 60}

app = Flask("shop")


@app.get("/")
def welcome():
    return "Welcome to the shop. Try /checkout, or /checkout?article=apple&article=plum\n"


@app.get("/checkout")
def checkout():
    sentry_sdk.set_user({"id": request.args.get("customer", "guest")})
    cart = request.args.getlist("article")
    return f"That makes {total(cart)} cents, {average_price(cart)} an article.\n"


def total(cart):
    return sum(price(article) for article in cart)


def average_price(cart):
    return total(cart) // len(cart)


def price(article):
    return PRICES[article]


if __name__ == "__main__":
    # Flask's own server: good enough to show an error with, not to sell anything with.
    app.run(host="0.0.0.0", port=8080)
