package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Command is a program for a Driver to start.
type Command struct {
	Path string   // absolute
	Args []string // without the program's name
	Dir  string   // working directory
	Log  string   // file that standard output and error are appended to
}

// Driver starts programs somewhere: on this machine, in a network namespace.
// What it starts ends with it, at the latest when this program itself ends.
type Driver interface {
	Start(Command) (Process, error)
}

// Process is a program that a Driver has started.
type Process interface {
	// Signal sends sig; to a process that has ended it is an error.
	Signal(sig syscall.Signal) error
	// Wait blocks until the process has ended and says how: nil for exit
	// status 0. Any number of callers may wait.
	Wait() error
}

// Processes is the Driver of this machine. Everything that it starts is killed
// by the kernel when this program ends, however that comes about.
type Processes struct {
	thread *thread
}

// NewProcesses returns a Driver that starts processes on this machine.
func NewProcesses() *Processes {
	return &Processes{thread: newThread()}
}

// Start starts c in a process group of its own, so that a Ctrl-C in the
// terminal reaches this program alone.
func (p *Processes) Start(c Command) (Process, error) {
	return p.thread.start(c)
}

// thread runs functions on one operating system thread that it never gives
// back. The kernel ties two things to a thread: the network namespace it is in
// and the parent-death signal of the processes it has started.
type thread struct {
	jobs chan func()
}

func newThread() *thread {
	t := &thread{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for job := range t.jobs {
			job()
		}
	}()
	return t
}

// do runs f on the thread and returns its error.
func (t *thread) do(f func() error) error {
	done := make(chan error)
	t.jobs <- func() { done <- f() }
	return <-done
}

func (t *thread) start(c Command) (Process, error) {
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	defer log.Close() // the process has its own copy
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, log, log
	cmd.SysProcAttr = dieWithParent()
	if err := t.do(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	p := &process{cmd: cmd}
	p.wait = sync.OnceValue(cmd.Wait)
	go p.wait()
	return p, nil
}

// process is a child of this program.
type process struct {
	cmd  *exec.Cmd
	wait func() error
}

func (p *process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %s to process %d: %w", sig, p.cmd.Process.Pid, err)
	}
	return nil
}

func (p *process) Wait() error { return p.wait() }
