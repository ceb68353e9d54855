package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// raisedSysctls belong to the machine, not to a namespace. inotify: the default of 128 instances is
// used up by kubelet, containerd and a few pods.
var raisedSysctls = map[string]string{
	"fs/inotify/max_user_instances": "8192",
	"fs/inotify/max_user_watches":   "524288",
}

// kubeletSysctls are what the kubelet sets by itself when it starts (pkg/kubelet/cm,
// setupKernelTunables).
var kubeletSysctls = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

func (c *Cluster) savedSysctls() string { return filepath.Join(filepath.Dir(c.Folder), "sysctls.json") }

func readSysctl(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join("/proc/sys", name))
	return strings.TrimSpace(string(text)), err
}

// raiseSysctls remembers the values that the machine had before its first cluster.
func (c *Cluster) raiseSysctls() error {
	if !exists(c.savedSysctls()) {
		saved := map[string]string{}
		for _, name := range kubeletSysctls {
			if value, err := readSysctl(name); err == nil {
				saved[name] = value
			}
		}
		for name := range raisedSysctls {
			value, err := readSysctl(name)
			if err != nil {
				return err
			}
			saved[name] = value
		}
		text, err := json.MarshalIndent(saved, "", "  ")
		if err != nil {
			return err
		}
		if err := writeFile(c.savedSysctls(), string(text), 0o600); err != nil {
			return err
		}
	}
	for name, value := range raisedSysctls {
		current, err := readSysctl(name)
		if err != nil {
			return err
		}
		if len(current) > len(value) || (len(current) == len(value) && current >= value) {
			continue
		}
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
			return fmt.Errorf("failed to raise %s: %w", name, err)
		}
	}
	return nil
}

// restoreSysctls puts the machine's values back when no other cluster runs.
func (c *Cluster) restoreSysctls() (restored []string, err error) {
	unlock, err := c.lockMachine()
	if err != nil {
		return nil, err
	}
	defer unlock()
	text, err := os.ReadFile(c.savedSysctls())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	others, err := filepath.Glob(filepath.Join(filepath.Dir(c.Folder), "*", "cluster.json"))
	if err != nil {
		return nil, err
	}
	for _, other := range others {
		if folder := filepath.Dir(other); folder != c.Folder && (&Cluster{Folder: folder}).supervisorPID() != 0 {
			return nil, nil
		}
	}
	saved := map[string]string{}
	if err := json.Unmarshal(text, &saved); err != nil {
		return nil, fmt.Errorf("%s is not readable: %w", c.savedSysctls(), err)
	}
	for name, value := range saved {
		if current, err := readSysctl(name); err == nil && current != value {
			if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
				return nil, fmt.Errorf("failed to restore %s: %w", name, err)
			}
			restored = append(restored, strings.ReplaceAll(name, "/", ".")+"="+value)
		}
	}
	return restored, os.Remove(c.savedSysctls())
}

// lockMachine guards what all clusters share: the choice of a range and the saved sysctls.
func (c *Cluster) lockMachine() (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(filepath.Dir(c.Folder), "machine.lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	return func() { _ = file.Close() }, nil
}
