package scaffold

// sample is a small service, for a repository that has none.
func sample(app string) map[string]string {
	return map[string]string{
		"service/go.mod":  "module " + app + "\n\ngo 1.24\n",
		"service/main.go": sampleService,
	}
}

const sampleService = `// The service listens on PORT, answers 200 at /healthz once it can serve, and says in X-Release which release it is.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Release", os.Getenv("RELEASE"))
	})
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Release", os.Getenv("RELEASE"))
		fmt.Fprintln(w, "Hello")
	})
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
`
