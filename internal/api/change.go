package api

import (
	"time"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/replay"
)

func turn(c *call) (any, error) {
	var wanted struct {
		Kind   queue.SwitchKind `json:"kind"`
		Name   string           `json:"name"`
		Off    *bool            `json:"off"`
		For    string           `json:"for"`
		Reason string           `json:"reason"`
	}
	if err := c.decode(smallBody, &wanted); err != nil {
		return nil, err
	}
	if wanted.Kind == "" {
		return nil, wrong("kind", "turning a switch: kind is missing; it is action, event or all")
	}
	if err := oneOf("kind", wanted.Kind, queue.SwitchAction, queue.SwitchEvent, queue.SwitchAll); err != nil {
		return nil, err
	}
	if wanted.Off == nil {
		return nil, wrong("off", "turning a switch: off is missing; it is true or false")
	}
	var during time.Duration
	if wanted.For != "" {
		age, ok := parseAge(wanted.For)
		if !ok || age == 0 {
			return nil, wrong("for", "turning a switch: %q is not a duration such as 30m, 24h or 7d", wanted.For)
		}
		during = age
	}
	return inspect.Turn(c.r.Context(), c.Runtime,
		queue.Switch{Kind: wanted.Kind, Name: wanted.Name, Off: *wanted.Off, Reason: wanted.Reason}, during)
}

// Changed counts what a change was made to.
type Changed struct {
	Deliveries int `json:"deliveries"`
}

func cancel(c *call) (any, error) {
	var wanted struct {
		Delivery string `json:"delivery"`
		Action   string `json:"action"`
	}
	if err := c.decode(smallBody, &wanted); err != nil {
		return nil, err
	}
	if (wanted.Delivery == "") == (wanted.Action == "") {
		return nil, wrong("delivery", "cancelling: give the id of a delivery, or else the name of an action")
	}
	count, err := c.Runtime.Cancel(c.r.Context(), wanted.Delivery, wanted.Action)
	return Changed{Deliveries: count}, err
}

func try(c *call) (any, error) {
	var wanted struct {
		Delivery string `json:"delivery"`
		Target   string `json:"target"`
	}
	if err := c.decode(smallBody, &wanted); err != nil {
		return nil, err
	}
	if (wanted.Delivery == "") == (wanted.Target == "") {
		return nil, wrong("delivery", "trying now: give the id of a delivery, or else a target such as http://192.168.1.20:8080")
	}
	if wanted.Delivery != "" {
		return replay.TryDelivery(c.r.Context(), c.Runtime, wanted.Delivery)
	}
	return replay.TryTarget(c.r.Context(), c.Runtime, wanted.Target)
}

func move(c *call) (any, error) {
	var wanted struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	if err := c.decode(smallBody, &wanted); err != nil {
		return nil, err
	}
	if wanted.From == "" {
		return nil, wrong("from", "moving deliveries: from is missing, the action that they wait for")
	}
	if wanted.To == "" {
		return nil, wrong("to", "moving deliveries: to is missing, the action that is to carry them out")
	}
	count, err := c.Runtime.Move(c.r.Context(), wanted.From, wanted.To)
	return Changed{Deliveries: count}, err
}

func send(c *call) (any, error) {
	var test replay.TestEvent
	if err := c.decode(eventBody, &test); err != nil {
		return nil, err
	}
	sent, err := replay.Send(c.r.Context(), c.Runtime, test)
	sent.IDs = list(sent.IDs)
	return sent, err
}
