// SPDX-License-Identifier: Apache-2.0

// chunks compares this library's chunks with those of Prometheus' own packages.
package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
)

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func writeFile(path string, write func(w *bufio.Writer)) {
	file, err := os.Create(path)
	check(err)
	w := bufio.NewWriter(file)
	write(w)
	check(w.Flush())
	check(file.Close())
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "golden":
		golden(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "--rounds":
		rounds, err := strconv.Atoi(os.Args[2])
		check(err)
		bench(rounds)
	default:
		fmt.Fprintln(os.Stderr, "usage: chunks golden FOLDER\n       chunks --rounds NUMBER")
		os.Exit(2)
	}
}
