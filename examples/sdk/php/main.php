<?php

// Reports a message and an exception to the project that SENTRY_DSN names.

declare(strict_types=1);

require __DIR__ . '/vendor/autoload.php';

$options = [
    'dsn' => getenv('SENTRY_DSN') ?: null,
    'release' => 'shop@1.0.0',
];
if (getenv('SENTRY_DEBUG') === '1' && class_exists(\Sentry\Logger\DebugStdOutLogger::class)) {
    // Version 3 has no such logger.
    $options['logger'] = new \Sentry\Logger\DebugStdOutLogger();
}
\Sentry\init($options);

/** @param int[] $cart */
function averagePrice(array $cart): int
{
    if ($cart === []) {
        throw new InvalidArgumentException('the cart is empty');
    }

    return intdiv(array_sum($cart), count($cart));
}

\Sentry\configureScope(function (\Sentry\State\Scope $scope): void {
    $scope->setUser(['id' => '42', 'username' => 'ada']);
});

// The SDK sends each event before it goes on.
\Sentry\captureMessage('Hello from PHP');
try {
    averagePrice([]);
} catch (InvalidArgumentException $exception) {
    \Sentry\captureException($exception);
}
