package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// children are the processes that the supervisor started. As process 1 of its namespace it also
// inherits orphans (containerd's shims), so it must wait for every process, and os/exec's own waiting
// would compete with that: children are started and awaited here only.
var children = struct {
	sync.Mutex
	waiting map[int]chan syscall.WaitStatus
}{waiting: map[int]chan syscall.WaitStatus{}}

// reap collects ended processes for ever.
func reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err != nil {
			// ECHILD: there is none yet.
			time.Sleep(10 * time.Millisecond)
			continue
		}
		children.Lock()
		if ended, ours := children.waiting[pid]; ours {
			ended <- status
			delete(children.waiting, pid)
		}
		children.Unlock()
	}
}

// startChild starts a program with its output appended to log. The lock is held over the start, so
// that reap cannot see the end before it is registered.
func startChild(log *os.File, program string, arguments []string) (int, <-chan syscall.WaitStatus, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return 0, nil, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, nil, err
	}
	defer null.Close()
	children.Lock()
	defer children.Unlock()
	pid, err := syscall.ForkExec(path, append([]string{program}, arguments...), &syscall.ProcAttr{
		Env:   environmentWithoutProxies(),
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
	})
	if err != nil {
		return 0, nil, fmt.Errorf("failed to start %s: %w", program, err)
	}
	ended := make(chan syscall.WaitStatus, 1)
	children.waiting[pid] = ended
	return pid, ended, nil
}

// runInside runs a short program of the supervisor to its end.
func runInside(program string, arguments ...string) error {
	_, ended, err := startChild(os.Stderr, program, arguments)
	if err != nil {
		return err
	}
	if status := <-ended; status.ExitStatus() != 0 {
		return fmt.Errorf("%s %s: exit status %d", program, strings.Join(arguments, " "), status.ExitStatus())
	}
	return nil
}

// keepRunning starts a component and starts it again, a second later, whenever it ends.
func (c *Cluster) keepRunning(name, program string, arguments ...string) error {
	log, err := os.OpenFile(c.path("logs", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	_, ended, err := startChild(log, program, arguments)
	if err != nil {
		return err
	}
	go func() {
		for {
			status := <-ended
			fmt.Fprintf(os.Stderr, "%s %s ended (exit status %d, signal %d); starting it again\n", time.Now().Format(time.RFC3339), name, status.ExitStatus(), status.Signal())
			for {
				time.Sleep(time.Second)
				if _, ended, err = startChild(log, program, arguments); err == nil {
					break
				}
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}()
	return nil
}

// restart ends a component by SIGKILL and waits until keepRunning has started it again.
func (c *Cluster) restart(name string) error {
	supervisor := c.supervisorPID()
	pid, there := childrenOf(supervisor)[name]
	if supervisor == 0 || !there {
		return fmt.Errorf("%s does not run in %s", name, c.Name)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("failed to end %s: %w", name, err)
	}
	return waitFor("new process of "+name, 10*time.Second, func() error {
		if now, there := childrenOf(supervisor)[name]; there && now != pid {
			return nil
		}
		return errors.New("not yet")
	})
}

// environmentWithoutProxies: nothing in the cluster may go through the machine's HTTP proxy.
func environmentWithoutProxies() []string {
	var kept []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			kept = append(kept, variable)
		}
	}
	return kept
}

// waitFor polls until check has no error. The last error is the one reported.
func waitFor(what string, limit time.Duration, check func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not after %s: %w", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// supervisorPID finds this cluster's first process by its command line, which names the folder: a
// number kept in a file could meanwhile belong to another process.
func (c *Cluster) supervisorPID() int {
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0
	}
	for _, entry := range entries {
		text, err := os.ReadFile(entry)
		if err != nil {
			continue
		}
		arguments := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
		if len(arguments) == 4 && filepath.Base(arguments[0]) == "cluster" && arguments[1] == "supervise" && arguments[3] == c.Folder {
			var pid int
			if _, err := fmt.Sscanf(entry, "/proc/%d/cmdline", &pid); err == nil {
				return pid
			}
		}
	}
	return 0
}

// childrenOf maps the names of a process's children to their pids, as this namespace sees them.
func childrenOf(parent int) map[string]int {
	found := map[string]int{}
	entries, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return found
	}
	for _, entry := range entries {
		text, err := os.ReadFile(entry)
		if err != nil {
			continue
		}
		// The name is in brackets and may hold spaces (proc(5)).
		end := strings.LastIndexByte(string(text), ')')
		var pid, ppid int
		var state string
		if _, err := fmt.Sscanf(string(text), "%d", &pid); err != nil || end < 0 {
			continue
		}
		if _, err := fmt.Sscanf(string(text)[end+1:], " %s %d", &state, &ppid); err != nil || ppid != parent {
			continue
		}
		command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue
		}
		arguments := strings.Split(string(command), "\x00")
		name := filepath.Base(arguments[0])
		if name == "cluster" && len(arguments) > 1 {
			name = arguments[1]
		}
		found[name] = pid
	}
	return found
}

// endNamespace kills the supervisor: it is process 1 of its namespace, so the kernel kills every
// process in it, and with the last of them go its mounts, its network and the host's interface.
func (c *Cluster) endNamespace() error {
	pid := c.supervisorPID()
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("failed to end process %d: %w", pid, err)
	}
	return waitFor(fmt.Sprintf("end of process %d", pid), 30*time.Second, func() error {
		// The parent (an earlier up) may have to collect it: a zombie holds nothing.
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(text), ") Z ") {
			return nil
		}
		return errors.New("it is still there")
	})
}
