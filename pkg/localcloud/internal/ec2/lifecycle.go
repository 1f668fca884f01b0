package ec2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
)

// The states of an instance, in EC2's words.
const (
	statePending      = "pending"
	stateRunning      = "running"
	stateShuttingDown = "shutting-down"
	stateTerminated   = "terminated"
	stateStopping     = "stopping"
	stateStopped      = "stopped"
)

// terminatedFor is how long a terminated instance is still shown. AWS: "for a short while (usually less than one hour)".
const terminatedFor = time.Hour

// retryAfter is the pause before what must succeed in the end, removing a machine, is tried again.
const retryAfter = 5 * time.Second

// machineLock lets one operation at a time at a machine.
type machineLock struct {
	lock
	cancel context.CancelFunc // ends a boot in progress; nil for none; guarded by the document's lock
}

// lockMachine waits until nobody else works at a machine. It is not ok when the service closes first.
func (s *Service) lockMachine(id string) (unlock func(), ok bool) {
	s.document.Lock()
	l := s.machines[id]
	if l == nil {
		l = &machineLock{lock: newLock()}
		s.machines[id] = l
	}
	s.document.Unlock()
	return l.release, l.take(s.ctx) == nil
}

// transition changes an instance behind the scenes, then opens and closes ports to match and tells the listeners.
func (s *Service) transition(id string, f func(*instance)) {
	var before string
	var after InstanceInfo
	ok := s.record(func() {
		if i := s.state.Instances[id]; i != nil {
			before = i.State
			f(i)
			after = s.info(i)
			if i.State == stateRunning {
				s.serveMetadata(id)
			}
		}
	})
	if !ok {
		return // the next start looks at the machine again
	}
	s.expose()
	if after.State != before {
		s.notify(after)
	}
}

// boot brings a pending instance's machine up: creates it, or starts it where it exists.
func (s *Service) boot(id string) {
	unlock, ok := s.lockMachine(id)
	if !ok {
		return
	}
	defer unlock()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.document.Lock()
	i := s.state.Instances[id]
	if i == nil || i.State != statePending {
		s.document.Unlock()
		return
	}
	spec, fresh, refused := i.spec(), !i.Booted, i.KeyRefused
	s.machines[id].cancel = cancel
	s.document.Unlock()

	if refused {
		s.failLaunch(id, keyReason())
		return
	}
	m, err := s.bringUp(ctx, spec)

	s.document.Lock()
	s.machines[id].cancel = nil
	s.document.Unlock()
	if s.ctx.Err() != nil || s.stateOf(id) != statePending {
		return // the next start, or the termination that waits for the machine, takes it from here
	}
	if err == nil {
		s.transition(id, func(i *instance) { i.run(m.Address) })
		return
	}
	s.log.Error("boot instance", "instance", id, "error", err)
	why := stateReason{"Server.InternalError", "Server.InternalError: Internal error on launch: " + err.Error()}
	if !fresh {
		s.transition(id, func(i *instance) { s.halt(i, why, "Server.InternalError") })
		return
	}
	s.failLaunch(id, why)
}

// failLaunch ends an instance that never ran. Nothing stays of it but the record that says why. The caller holds the machine's lock.
func (s *Service) failLaunch(id string, why stateReason) {
	s.transition(id, func(i *instance) {
		i.State, i.StateReason, i.Reason = stateShuttingDown, why, why.Code
	})
	s.remove(id)
}

// bringUp returns a running machine, whatever there is of it.
func (s *Service) bringUp(ctx context.Context, spec compute.Spec) (compute.Machine, error) {
	m, err := s.compute.Inspect(ctx, spec.ID)
	if err != nil {
		return m, err
	}
	switch m.State {
	case compute.Running:
		return m, nil
	case compute.Stopped:
		return s.compute.Start(ctx, spec.ID)
	}
	return s.compute.Create(ctx, spec)
}

// run makes the instance running, at its machine's address.
func (i *instance) run(addr netip.Addr) {
	if i.State == statePending {
		i.State, i.StateReason, i.Reason = stateRunning, stateReason{}, ""
		i.Booted = true
	}
	i.PrivateIP = addr
}

// halt makes the instance stopped, which gives its public address back. The caller holds the lock.
func (s *Service) halt(i *instance, why stateReason, reason string) {
	i.State, i.StateReason, i.Reason = stateStopped, why, reason
	s.releaseAddress(i)
}

// end makes the instance terminated and lets go of what it had. The caller holds the lock.
func (s *Service) end(i *instance) {
	i.State, i.Ended = stateTerminated, now()
	i.PrivateIP = netip.Addr{}
	s.releaseAddress(i)
	for _, v := range s.volumesOf(i) {
		// Also where it should have been kept: a machine's disk does not outlive it.
		delete(s.state.Volumes, v.ID)
	}
	delete(s.machines, i.ID)
}

// releaseAddress frees an instance's public address once the change is saved. The caller holds the lock.
func (s *Service) releaseAddress(i *instance) {
	if i.PublicIP.IsValid() {
		s.released = append(s.released, i.PublicIP)
		i.PublicIP = netip.Addr{}
	}
}

// shutDown stops a stopping instance's machine.
func (s *Service) shutDown(id string) {
	unlock, ok := s.lockMachine(id)
	if !ok {
		return
	}
	defer unlock()
	if s.stateOf(id) != stateStopping {
		return
	}
	err := s.compute.Stop(s.ctx, id)
	if s.ctx.Err() != nil {
		return
	}
	if err != nil {
		s.log.Error("stop instance", "instance", id, "error", err)
		if m, inspectErr := s.compute.Inspect(s.ctx, id); inspectErr == nil && m.State == compute.Running {
			s.transition(id, func(i *instance) {
				if i.State == stateStopping {
					i.State, i.PrivateIP = stateRunning, m.Address
					i.StateReason = stateReason{"Server.InternalError", "Server.InternalError: " + err.Error()}
				}
			})
			return
		}
	}
	s.transition(id, func(i *instance) {
		if i.State == stateStopping { // it may be terminated meanwhile
			s.halt(i, i.StateReason, i.Reason)
		}
	})
}

// terminate ends a boot in progress, then the machine.
func (s *Service) terminate(id string) {
	s.document.Lock()
	if l := s.machines[id]; l != nil && l.cancel != nil {
		l.cancel()
	}
	s.document.Unlock()
	unlock, ok := s.lockMachine(id)
	if !ok {
		return
	}
	defer unlock()
	s.remove(id)
}

// remove shuts down the machine of an instance that is shutting down, in order, so that services there finish what they
// do, and removes it. The caller holds the machine's lock.
func (s *Service) remove(id string) {
	if s.stateOf(id) != stateShuttingDown {
		return
	}
	m, err := s.compute.Inspect(s.ctx, id)
	if err == nil && m.State != compute.Gone {
		s.keepConsole(id)
	}
	if err == nil && m.State == compute.Running {
		if err := s.compute.Stop(s.ctx, id); err != nil {
			s.log.Warn("stop instance before its termination", "instance", id, "error", err)
		}
	}
	for {
		err := s.compute.Remove(s.ctx, id)
		if err == nil {
			break
		}
		s.log.Error("remove instance", "instance", id, "error", err)
		if wait.For(s.ctx, retryAfter) != nil {
			return
		}
	}
	s.transition(id, s.end)
}

// keepConsole keeps the end of an instance's console beyond its machine: why an instance had to go is asked afterwards.
func (s *Service) keepConsole(id string) {
	console, err := s.compute.Console(s.ctx, id)
	if err != nil {
		s.log.Warn("keep the console of an instance before its termination", "instance", id, "error", err)
		return
	}
	s.record(func() {
		if i := s.state.Instances[id]; i != nil {
			i.Console, i.ConsoleRead = lastBytes(console, keptConsole), now()
		}
	})
}

// reboot restarts the machine of an instance, which stays running all the while.
func (s *Service) reboot(id string) {
	unlock, ok := s.lockMachine(id)
	if !ok {
		return
	}
	defer unlock()
	if s.stateOf(id) != stateRunning {
		return
	}
	err := s.compute.Stop(s.ctx, id)
	if err == nil {
		err = s.restart(id)
	}
	if err != nil && s.ctx.Err() == nil {
		s.log.Error("reboot instance", "instance", id, "error", err)
		s.settle(id)
	}
}

// restart starts the stopped machine of an instance that is running as far as anyone knows.
func (s *Service) restart(id string) error {
	m, err := s.compute.Start(s.ctx, id)
	if err != nil {
		return err
	}
	s.transition(id, func(i *instance) { i.PrivateIP = m.Address })
	return nil
}

// commitMachine makes an image of an instance's machine. The caller holds the machine's lock.
func (s *Service) commitMachine(id, name string, noReboot bool) (made compute.Image, err error) {
	m, err := s.compute.Inspect(s.ctx, id)
	if err != nil {
		return made, err
	}
	if m.State == compute.Running && noReboot {
		made, err := s.compute.Commit(s.ctx, id, name)
		if errors.Is(err, compute.ErrUnsupported) {
			return made, fmt.Errorf("a running instance cannot become an image here: stop it first, or allow the reboot: %w", err)
		}
		return made, err
	}
	switch m.State {
	case compute.Gone:
		return made, fmt.Errorf("the machine of instance %q is gone", id)
	case compute.Running:
		if err := s.compute.Stop(s.ctx, id); err != nil {
			return made, err
		}
	}
	made, err = s.compute.Commit(s.ctx, id, name)
	if s.stateOf(id) == stateRunning {
		if startErr := s.restart(id); startErr != nil && s.ctx.Err() == nil {
			s.log.Error("start instance after its image was made", "instance", id, "error", startErr)
			s.settle(id)
		}
	}
	return made, err
}

// stateOf returns an instance's state, terminated for one that there is not.
func (s *Service) stateOf(id string) string {
	s.document.Lock()
	defer s.document.Unlock()
	if i := s.state.Instances[id]; i != nil {
		return i.State
	}
	return stateTerminated
}

// watch takes note of machines that change on their own.
func (s *Service) watch(changes <-chan compute.Machine) {
	for m := range changes {
		s.document.Lock()
		i := s.state.Instances[m.ID]
		unexpected := i != nil && (i.State == stateRunning && m.State != compute.Running ||
			i.State == stateStopped && m.State != compute.Stopped)
		s.document.Unlock()
		if unexpected {
			s.work.Go(func() {
				// An operation of ours may be behind it: wait for its end, then look.
				if unlock, ok := s.lockMachine(m.ID); ok {
					defer unlock()
					s.settle(m.ID)
				}
			})
		}
	}
}

// settle brings an instance's record in line with its machine. The caller holds the machine's lock.
func (s *Service) settle(id string) {
	state := s.stateOf(id)
	if state != stateRunning && state != stateStopped {
		return
	}
	m, err := s.compute.Inspect(s.ctx, id)
	if err != nil {
		if s.ctx.Err() == nil {
			s.log.Error("inspect instance", "instance", id, "error", err)
		}
		return
	}
	switch {
	case m.State == compute.Gone:
		s.transition(id, func(i *instance) {
			i.StateReason = stateReason{"Server.InternalError", "Server.InternalError: the instance's machine is gone"}
			i.Reason = "Server.InternalError"
			s.end(i)
		})
	case m.State == compute.Running && state == stateRunning:
		s.transition(id, func(i *instance) { i.PrivateIP = m.Address })
	case m.State == compute.Running: // started by hand: the record is what was asked for
		if err := s.compute.Stop(s.ctx, id); err != nil {
			s.log.Error("stop instance", "instance", id, "error", err)
		}
	case state == stateRunning:
		why := stateReason{"Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown"}
		terminate := false
		s.transition(id, func(i *instance) {
			if terminate = i.ShutdownBehavior == "terminate"; terminate {
				i.State, i.StateReason, i.Reason = stateShuttingDown, why, ""
			} else {
				s.halt(i, why, "")
			}
		})
		if terminate {
			s.remove(id)
		}
	}
}

// reconcile brings the saved state and the machines together, in the background.
func (s *Service) reconcile() {
	s.document.Lock()
	defer s.document.Unlock()
	s.prune()
	for id, i := range s.state.Images {
		if i.State == "pending" {
			s.work.Go(func() { s.commit(id) })
		}
	}
	for id, i := range s.state.Instances {
		switch i.State {
		case statePending:
			s.work.Go(func() { s.boot(id) })
		case stateStopping:
			s.work.Go(func() { s.shutDown(id) })
		case stateShuttingDown:
			s.work.Go(func() { s.terminate(id) })
		case stateRunning, stateStopped:
			s.work.Go(func() { s.resume(id) })
		}
	}
	s.work.Go(s.removeStrays)
}

// resume takes up an instance after a restart of the cloud. What ran then is to run now.
func (s *Service) resume(id string) {
	unlock, ok := s.lockMachine(id)
	if !ok {
		return
	}
	defer unlock()
	if s.stateOf(id) == stateRunning {
		if m, err := s.compute.Inspect(s.ctx, id); err == nil && m.State == compute.Stopped {
			s.transition(id, func(i *instance) { i.PrivateIP = netip.Addr{} }) // it may be another machine's by now
			if err := s.restart(id); err == nil || s.ctx.Err() != nil {
				return
			} else {
				s.log.Error("start instance again", "instance", id, "error", err)
			}
		}
	}
	s.settle(id)
}

// removeStrays removes machines that no instance has.
func (s *Service) removeStrays() {
	machines, err := s.compute.List(s.ctx)
	if err != nil {
		if s.ctx.Err() == nil {
			s.log.Error("list machines", "error", err)
		}
		return
	}
	for _, m := range machines {
		if s.stateOf(m.ID) != stateTerminated {
			continue
		}
		if err := s.compute.Remove(s.ctx, m.ID); err != nil && s.ctx.Err() == nil {
			s.log.Error("remove stray machine", "machine", m.ID, "error", err)
		}
	}
}

// prune forgets instances that were terminated long enough ago. The caller holds the lock.
func (s *Service) prune() {
	for id, i := range s.state.Instances {
		if i.ended() && time.Since(i.Ended) > terminatedFor {
			delete(s.state.Instances, id)
		}
	}
}
