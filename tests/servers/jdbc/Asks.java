// Answers with the port and the role of the server that a printed connection leads to: one question a line.

import java.sql.Connection;
import java.sql.SQLException;

class Asks {
    static String answer;
    static String query;

    static void ask(Connection connection) throws SQLException {
        try (var rows = connection.createStatement().executeQuery(query)) {
            rows.next();
            answer = rows.getInt(1) + " " + rows.getBoolean(2) + " " + rows.getString(3);
        }
    }

    // What `pgvillage dsn` printed, by the test's name for it; the test puts it here, each with ask() at its end.
    static void connect(String name) throws SQLException {
        switch (name) {
// PRINTED
            default -> throw new IllegalArgumentException(name);
        }
    }

    public static void main(String[] arguments) {
        query = arguments[0];
        for (var lines = new java.util.Scanner(System.in); lines.hasNextLine(); ) {
            try {
                connect(lines.nextLine());
                System.out.println("answer " + answer);
            } catch (SQLException error) {
                System.out.println("failed " + error.getMessage().replace('\n', ' '));
            }
        }
    }
}
