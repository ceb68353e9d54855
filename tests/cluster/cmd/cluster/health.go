package main

import (
	"fmt"
	"net/http"
	"time"
)

// A check is one part of "ready", tried from the host as a user would reach it.
type check struct {
	name string
	try  func() error
}

const checkClaim = "/api/v1/namespaces/kube-system/persistentvolumeclaims"

func (c *Cluster) checks() ([]check, error) {
	direct, err := c.api("admin")
	if err != nil {
		return nil, err
	}
	throughService, err := c.apiAt("admin", "https://"+c.Network.apiService().String())
	if err != nil {
		return nil, err
	}
	return []check{
		{"API server", func() error { return direct.get("/readyz", nil) }},
		{"kube-proxy (a Service answers)", func() error { return throughService.get("/readyz", nil) }},
		{"DNS", c.answersDNS},
		{"service accounts", func() error { return direct.get("/api/v1/namespaces/default/serviceaccounts/default", nil) }},
		{"node", func() error { return nodeReady(direct) }},
		{"default StorageClass", func() error { return claimBound(direct) }},
	}, nil
}

func nodeReady(api *api) error {
	var object nodeObject
	if err := api.get("/api/v1/nodes/"+node, &object); err != nil {
		return err
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type == "Ready" && condition.Status != "True" {
			return fmt.Errorf("node is not ready: %s", condition.Message)
		}
	}
	if len(object.Status.Conditions) == 0 || len(object.Spec.Taints) > 0 {
		return fmt.Errorf("node still has the taints %v", object.Spec.Taints)
	}
	return nil
}

// claimBound asks for a volume of the default class; the claim is removed by the caller's next step.
func claimBound(api *api) error {
	var claim claimObject
	err := api.get(checkClaim+"/cluster-check", &claim)
	if hasCode(err, http.StatusNotFound) {
		return firstError(api.do(http.MethodPost, checkClaim, map[string]any{
			"apiVersion": "v1", "kind": "PersistentVolumeClaim",
			"metadata": map[string]string{"name": "cluster-check"},
			"spec": map[string]any{
				"accessModes": []string{"ReadWriteOnce"},
				"resources":   map[string]any{"requests": map[string]string{"storage": "1Mi"}},
			},
		}, nil), fmt.Errorf("the claim was only just created"))
	}
	if err != nil {
		return err
	}
	if claim.Status.Phase != "Bound" {
		return fmt.Errorf("the claim is %s", claim.Status.Phase)
	}
	return api.do(http.MethodDelete, checkClaim+"/cluster-check", nil, nil)
}

func firstError(errors ...error) error {
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

// waitReady prints each part as it comes up.
func (c *Cluster) waitReady(start time.Time, limit time.Duration) error {
	checks, err := c.checks()
	if err != nil {
		return err
	}
	results := make(chan error, len(checks))
	for _, one := range checks {
		go func() {
			err := waitFor(one.name, limit, func() error {
				if c.supervisorPID() == 0 {
					return fmt.Errorf("the cluster ended; see %s", c.path("logs", "supervisor.log"))
				}
				return one.try()
			})
			if err == nil {
				fmt.Printf("cluster: %5.1f s %s\n", time.Since(start).Seconds(), one.name)
			}
			results <- err
		}()
	}
	for range checks {
		err = firstError(err, <-results)
	}
	return err
}

// healthy tries each check once.
func (c *Cluster) healthy() error {
	if err := c.running(); err != nil {
		return err
	}
	checks, err := c.checks()
	if err != nil {
		return err
	}
	// The claim takes a second and was tried when the cluster started.
	for _, one := range checks[:len(checks)-1] {
		if err := one.try(); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return nil
}
