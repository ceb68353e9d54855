import io.sentry.Sentry;
import io.sentry.protocol.User;
import java.util.List;

/** Reports a message and an exception to the project that SENTRY_DSN names. */
public final class Main {
    public static void main(String[] arguments) {
        Sentry.init(options -> {
            // The SDK takes it by itself with setEnableExternalConfiguration(true), but then SENTRY_DEBUG must be "true".
            options.setDsn(System.getenv("SENTRY_DSN"));
            options.setRelease("shop@1.0.0");
            options.setDebug("1".equals(System.getenv("SENTRY_DEBUG")));
        });

        User user = new User();
        user.setId("42");
        user.setUsername("ada");
        Sentry.setUser(user);

        Sentry.captureMessage("Hello from Java");
        try {
            averagePrice(List.of());
        } catch (IllegalArgumentException exception) {
            Sentry.captureException(exception);
        }

        // Events are sent in the background: a program that ends waits for them.
        Sentry.flush(10_000);
        Sentry.close();
    }

    private static int averagePrice(List<Integer> cart) {
        if (cart.isEmpty()) {
            throw new IllegalArgumentException("the cart is empty");
        }
        return cart.stream().mapToInt(Integer::intValue).sum() / cart.size();
    }
}
