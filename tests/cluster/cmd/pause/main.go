// Command pause is the only process of a pod's sandbox: it holds the pod's namespaces and waits for
// the signal that ends the pod. Built without cgo, so that it runs in an empty image.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGINT, syscall.SIGTERM)
	<-ends
}
