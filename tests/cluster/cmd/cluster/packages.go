package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// programs the node needs, with the Debian package that has each.
var programs = []struct{ path, pkg string }{
	{"containerd", "containerd"},
	{"runc", "runc"},
	{"/usr/lib/cni/bridge", "containernetworking-plugins"},
	{"iptables", "iptables"},
	{"nft", "nftables"},
	{"conntrack", "conntrack"},
	{"ip", "iproute2"},
	{"mount", "mount"},
}

// policyPrograms are what kube-router needs beside them.
var policyPrograms = []struct{ path, pkg string }{{"ipset", "ipset"}}

// servicePolicy keeps packages from starting their services while it exits with 101 (Debian's
// invoke-rc.d and deb-systemd-invoke).
const servicePolicy = "/usr/sbin/policy-rc.d"

// installPrograms installs only what is missing, and never removes a package.
func installPrograms(policies bool) error {
	missing := missingPackages(policies)
	if len(missing) == 0 {
		return nil
	}
	arguments := append([]string{"install", "-y", "--no-install-recommends", "--no-remove"}, missing...)
	line := "apt-get update && apt-get " + strings.Join(arguments, " ")
	if os.Geteuid() != 0 || !debian() {
		return fmt.Errorf("these programs' packages are missing: %s; on Debian or Ubuntu: %s", strings.Join(missing, " "), line)
	}
	fmt.Printf("cluster: installing %s\n", strings.Join(missing, " "))
	// The node runs a containerd of its own: the package's service is not wanted.
	if !exists(servicePolicy) {
		if err := writeFile(servicePolicy, "#!/bin/sh\nexit 101\n", 0o755); err != nil {
			return err
		}
		defer os.Remove(servicePolicy)
	}
	for _, step := range [][]string{{"update", "-q"}, arguments} {
		command := exec.Command("apt-get", step...)
		command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(step, " "), err, output)
		}
	}
	if missing := missingPackages(policies); len(missing) > 0 {
		return errors.New("still missing after their installation: " + strings.Join(missing, " "))
	}
	return nil
}

func missingPackages(policies bool) []string {
	var missing []string
	wanted := programs
	if policies {
		wanted = append(slices.Clone(programs), policyPrograms...)
	}
	for _, program := range wanted {
		if _, err := exec.LookPath(program.path); err != nil {
			missing = append(missing, program.pkg)
		}
	}
	return missing
}

func debian() bool {
	text, _ := os.ReadFile("/etc/os-release")
	return strings.Contains(string(text), "ID=debian") || strings.Contains(string(text), "ID=ubuntu")
}
