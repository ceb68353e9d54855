package double

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/BurntSushi/toml"
)

// config is the part of config.toml that the double obeys, and when the file was written.
type config struct {
	SentryDSN *string `toml:"sentry_dsn"`
	// fromEnvironment: the file has no sentry_dsn.
	fromEnvironment bool
	modified        time.Time
}

// loadConfig reads the file as the runner does: one that is missing is an empty one, and the environment counts as if its value
// were in the file, an empty value too.
func loadConfig(path string, takesEnvironment bool) (config, error) {
	var loaded config
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return config{}, err
	default:
		if _, err := toml.DecodeFile(path, &loaded); err != nil {
			return config{}, err
		}
		loaded.modified = info.ModTime()
	}
	if dsn, set := os.LookupEnv("SENTRY_DSN"); loaded.SentryDSN == nil && set && takesEnvironment {
		loaded.SentryDSN, loaded.fromEnvironment = &dsn, true
	}
	return loaded, nil
}

// registration is what `register` adds to config.toml.
type registration struct{ name, url, token string }

// register loads the file, adds a runner and saves the whole file. What came from the environment is then in the file, and
// comments are gone.
func register(path string, takesEnvironment bool, added registration) error {
	loaded, err := loadConfig(path, takesEnvironment)
	if err != nil {
		return err
	}
	whole := map[string]any{}
	if _, err := toml.DecodeFile(path, &whole); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if loaded.SentryDSN != nil {
		whole["sentry_dsn"] = *loaded.SentryDSN
	}
	runners, _ := whole["runners"].([]map[string]any)
	whole["runners"] = append(runners, map[string]any{
		"name": added.name, "url": added.url, "token": added.token, "executor": "kubernetes",
	})
	var text bytes.Buffer
	if err := toml.NewEncoder(&text).Encode(whole); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o600)
}
