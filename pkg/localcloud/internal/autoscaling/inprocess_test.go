package autoscaling

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestHookOfAnotherService keeps a hook on a group and answers it, as CodeDeploy does.
func TestHookOfAnotherService(t *testing.T) {
	inBubble(t, 1, nil, func(b *bench) {
		first, err := b.InService("web")
		if err != nil || len(first) != 1 {
			t.Fatalf("in service: %v, %v", first, err)
		}
		h := Hook{Name: "gate", Transition: launchingTransition, DefaultResult: resultAbandon, Heartbeat: time.Minute, Metadata: "m", Target: "arn:aws:sqs:us-west-1:000000000000:queue"}
		b.must(b.PutHook("web", h))
		waiting := make(chan string, 1)
		b.OnLifecycleAction(func(a LifecycleAction) { waiting <- a.InstanceID })
		_, err = b.setDesiredCapacity(t.Context(), &setDesiredInput{Name: "web", DesiredCapacity: new(2)})
		b.must(err)
		launched := <-waiting
		for range 5 { // longer than the heartbeat's timeout
			time.Sleep(30 * time.Second)
			b.must(b.Heartbeat("web", "gate", launched))
		}
		if ids, _ := b.InService("web"); !cmp.Equal(ids, first) {
			t.Errorf("in service while it waits: %v", ids)
		}
		b.must(b.CompleteLifecycleAction("web", "gate", launched, resultContinue))
		b.until("it is in service", time.Minute, func() bool {
			ids, _ := b.InService("web")
			return cmp.Equal(ids, append(first, launched))
		})
		if !b.HasHook("web", "gate") || b.HasHook("web", "other") || b.HasHook("none", "gate") {
			t.Error("HasHook does not tell which hooks there are")
		}
		for range 2 { // the second time there is none
			b.must(b.DeleteHook("web", "gate"))
		}
		if b.HasHook("web", "gate") {
			t.Error("the hook is still there")
		}
		if _, err := b.InService("none"); code(err) != "ValidationError" {
			t.Errorf("a group that is not there: %v", err)
		}
	})
}
