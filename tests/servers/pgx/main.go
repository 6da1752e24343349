// Answers with the port and the role of the server that a printed connection leads to: one question a line.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
)

// What `pgvillage dsn` printed, by the test's name for it; the test writes the file that fills it.
var printed = map[string]func(context.Context) (*pgx.Conn, error){}

func ask(ctx context.Context, name, query string) (string, error) {
	connection, err := printed[name](ctx)
	if err != nil {
		return "", err
	}
	defer connection.Close(ctx)
	var port int
	var standby bool
	var database string
	err = connection.QueryRow(ctx, query).Scan(&port, &standby, &database)
	return fmt.Sprintf("%d %t %s", port, standby, database), err
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if answer, err := ask(context.Background(), lines.Text(), os.Args[1]); err != nil {
			fmt.Printf("failed %q\n", err.Error())
		} else {
			fmt.Printf("answer %s\n", answer)
		}
	}
}
