package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// printMachine prints what the figures depend on: without it they mean nothing.
func printMachine(w io.Writer, dir string) error {
	synced, err := syncTime(dir)
	if err != nil {
		return err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return fmt.Errorf("reading the load of the machine: %w", err)
	}
	fields := strings.Fields(string(load))
	fmt.Fprintf(w, "%s: %d cores (%s), load %s before, %s %s/%s, fsync of 4 KiB %.2f ms\n",
		time.Now().Format("2006-01-02 15:04"), runtime.NumCPU(), processor(), strings.Join(fields[:min(3, len(fields))], " "),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, synced.Seconds()*1000)
	for _, name := range []string{"GOGC", "GOMEMLIMIT", "GOMAXPROCS"} {
		if value, set := os.LookupEnv(name); set {
			fmt.Fprintf(w, "%s=%s\n", name, value)
		}
	}
	return nil
}

// processor returns the name that the kernel has for it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(text) {
		if name, value, found := strings.Cut(string(line), ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// syncTime returns how long it takes to bring a written block to the disk: the median
// of many.
func syncTime(dir string) (time.Duration, error) {
	file, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, fmt.Errorf("measuring fsync: %w", err)
	}
	defer file.Close()
	var took []float64
	for i := range 100 {
		if _, err := file.WriteAt(bytes.Repeat([]byte{byte(i)}, 4096), int64(i)*4096); err != nil {
			return 0, fmt.Errorf("measuring fsync: %w", err)
		}
		began := time.Now()
		if err := file.Sync(); err != nil {
			return 0, fmt.Errorf("measuring fsync: %w", err)
		}
		took = append(took, float64(time.Since(began)))
	}
	return time.Duration(median(took)), nil
}
