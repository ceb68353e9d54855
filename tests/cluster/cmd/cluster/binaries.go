package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strings"
	"time"
)

// A binary is built from one Go module and kept under a key of everything that decides its content.
type binary struct {
	name      string
	module    string // folder of its go.mod, below tests/cluster
	pkg       string
	sources   string // folder of its own sources, below module
	ldflags   string
	links     []string
	coldBuild string // what the first build takes on 2 cores
}

// binaries names their releases by the versions in go.mod: without these linker flags the server calls itself
// v0.0.0-master, and helm renders for Kubernetes 1.20 where it is given no cluster.
func binaries(module string, policies bool) ([]binary, error) {
	server, err := requiredVersion(module, "k8s.io/kubernetes")
	if err != nil {
		return nil, err
	}
	helm, err := requiredVersion(filepath.Join(module, "helm"), "helm.sh/helm/v3")
	if err != nil {
		return nil, err
	}
	client, err := requiredVersion(filepath.Join(module, "helm"), "k8s.io/client-go")
	if err != nil {
		return nil, err
	}
	set := func(variables ...string) string { return "-s -w -X " + strings.Join(variables, " -X ") }
	const component, helmRoot = "k8s.io/component-base/version.", "helm.sh/helm/v3/"
	all := []binary{
		{name: "pause", module: ".", pkg: "./cmd/pause", sources: "cmd/pause", ldflags: "-s -w", coldBuild: "a few seconds"},
		{
			name: "kubernetes", module: ".", pkg: "./cmd/kubernetes", sources: "cmd/kubernetes",
			ldflags:   set(component+"gitVersion="+server.text, component+"gitMajor="+server.major, component+"gitMinor="+server.minor),
			links:     []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"},
			coldBuild: "about 11 min",
		},
		{name: "coredns", module: "coredns", pkg: "github.com/coredns/coredns", ldflags: "-s -w", coldBuild: "about 3 min"},
		{
			name: "helm", module: "helm", pkg: "helm.sh/helm/v3/cmd/helm", coldBuild: "about 90 s",
			// As helm's Makefile does it: client-go 0.37 is the client of Kubernetes 1.37.
			ldflags: set(helmRoot+"internal/version.version="+helm.text,
				helmRoot+"pkg/chartutil.k8sVersionMajor=1", helmRoot+"pkg/chartutil.k8sVersionMinor="+client.minor,
				helmRoot+"pkg/lint/rules.k8sVersionMajor=1", helmRoot+"pkg/lint/rules.k8sVersionMinor="+client.minor),
		},
	}
	if policies {
		all = append(all, binary{
			name: "kube-router", module: "kuberouter", pkg: "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
			ldflags: "-s -w", coldBuild: "about 3 min",
		})
	}
	return all, nil
}

type version struct{ text, major, minor string }

// requiredVersion is the release that the go.mod of a folder requires of a module.
func requiredVersion(folder, module string) (version, error) {
	text, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		return version{}, err
	}
	required := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(module) + ` (v(\d+)\.(\d+)\.\d+)(?:\s*//.*)?\s*$`)
	found := required.FindStringSubmatch(string(text))
	if found == nil {
		return version{}, fmt.Errorf("%s/go.mod requires no release of %s", folder, module)
	}
	return version{text: found[1], major: found[2], minor: found[3]}, nil
}

// buildAll builds what is missing, and returns a folder with a link to every binary: one folder per
// set of keys, so that it can be put on PATH.
func buildAll(policies bool) (string, error) {
	module, err := moduleFolder()
	if err != nil {
		return "", err
	}
	wanted, err := binaries(module, policies)
	if err != nil {
		return "", err
	}
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	goVersion, err := exec.Command("go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("failed to ask go for its version: %w", err)
	}

	built := map[string]string{}
	all := sha256.New()
	for _, b := range wanted {
		key, err := b.key(module, strings.TrimSpace(string(goVersion)))
		if err != nil {
			return "", err
		}
		path := filepath.Join(cache, "cluster", b.name+"-"+key, b.name)
		if err := b.build(module, path); err != nil {
			return "", err
		}
		built[b.name] = path
		for _, link := range b.links {
			built[link] = path
		}
		fmt.Fprintln(all, path)
	}

	folder := filepath.Join(cache, "cluster", fmt.Sprintf("bin-%x", all.Sum(nil)[:6]))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	for name, path := range built {
		if err := os.Symlink(path, filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return folder, nil
}

// key hashes everything that decides the binary: module files, own sources, flags, Go, machine.
func (b binary) key(module, goVersion string) (string, error) {
	files := []string{filepath.Join(module, b.module, "go.mod")}
	// A module without any dependency has no go.sum.
	if sum := filepath.Join(module, b.module, "go.sum"); exists(sum) {
		files = append(files, sum)
	}
	if b.sources != "" {
		sources, err := filepath.Glob(filepath.Join(module, b.module, b.sources, "*.go"))
		if err != nil {
			return "", err
		}
		files = append(files, sources...)
	}
	sort.Strings(files)
	hash := sha256.New()
	fmt.Fprintln(hash, goVersion, runtime.GOOS, runtime.GOARCH, b.pkg, b.ldflags)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(hash, filepath.Base(file), len(text))
		hash.Write(text)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:6]), nil
}

// build compiles into a temporary name and renames, so that a killed build leaves nothing half done.
func (b binary) build(module, path string) error {
	if exists(path) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	defer os.Remove(temporary)
	// -p 2: the packages of Kubernetes take 3.3 GB with two compilers at once.
	command := exec.Command("go", "build", "-p", "2", "-trimpath", "-buildvcs=false", "-ldflags="+b.ldflags, "-o", temporary, b.pkg)
	command.Dir = filepath.Join(module, b.module)
	command.Env = append(os.Environ(), "GOTOOLCHAIN=local", "CGO_ENABLED=0", "GOFLAGS=")
	command.Stdout, command.Stderr = os.Stdout, os.Stderr

	start := time.Now()
	fmt.Printf("cluster: building %s (the first time takes %s on 2 cores)\n", b.name, b.coldBuild)
	if err := command.Start(); err != nil {
		return fmt.Errorf("failed to run go: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	tick := time.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("failed to build %s in %s: %w", b.name, command.Dir, err)
			}
			fmt.Printf("cluster: built %s in %.0f s\n", b.name, time.Since(start).Seconds())
			return os.Rename(temporary, path)
		case <-tick.C:
			fmt.Printf("cluster: waiting for go build of %s, %.0f s\n", b.name, time.Since(start).Seconds())
		}
	}
}

// moduleFolder is tests/cluster: the working folder under `go run`, or below it.
func moduleFolder() (string, error) {
	working, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for _, folder := range []string{working, filepath.Join(working, "tests", "cluster")} {
		if exists(filepath.Join(folder, "cmd", "kubernetes", "main.go")) {
			return folder, nil
		}
	}
	return "", fmt.Errorf("%s is neither tests/cluster nor the repository", working)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
