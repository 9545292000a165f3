import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;

/** Asks the service for analysts through PostgreSQL's JDBC driver: URL USER PASSWORD. Fails when an answer is wrong. */
public class Analyst {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("user", args[1]);
        properties.setProperty("password", args[2]);
        try (Connection connection = DriverManager.getConnection(args[0], properties)) {
            metadata(connection.getMetaData());
            long all = one(connection, "SELECT count(*) FROM recommendations");
            require(all > 0, "no recommendations");
            inPortions(connection, all);
            prepared(connection, all);
            oids(connection);
            types(connection);
            refused(connection);
            System.out.println("JDBC " + connection.getMetaData().getDriverVersion() + ": " + all + " recommendations");
        }
    }

    private static void metadata(DatabaseMetaData data) throws SQLException {
        require(strings(data.getSchemas(), "TABLE_SCHEM").contains("graph_recs"), "schemas");
        List<String> tables = strings(data.getTables(null, "graph_recs", "%", new String[] {"TABLE"}), "TABLE_NAME");
        require(tables.equals(List.of("closest_connections", "rec_reasons", "recommendations", "reputation_scores")), "tables " + tables);
        require(strings(data.getTables(null, "graph_recs", "%", new String[] {"VIEW"}), "TABLE_NAME").contains("drift"), "views");
        Map<String, String> columns = new TreeMap<>();
        try (ResultSet rows = data.getColumns(null, "graph_recs", "recommendations", "%")) {
            while (rows.next()) {
                columns.put(rows.getString("COLUMN_NAME"), rows.getString("TYPE_NAME") + " " + rows.getString("IS_NULLABLE"));
                require(!rows.getString("REMARKS").isEmpty(), "a column without a description");
            }
        }
        require(columns.equals(Map.of("user_id", "int4 NO", "rec_id", "int4 NO", "rank", "int4 NO", "score", "numeric NO")), "columns " + columns);
        for (ResultSet rows : List.of(data.getPrimaryKeys(null, "graph_recs", "recommendations"), data.getIndexInfo(null, "graph_recs", "recommendations", false, true),
                data.getImportedKeys(null, "graph_recs", "recommendations"), data.getExportedKeys(null, "graph_recs", "recommendations"),
                data.getFunctions(null, "graph_recs", "%"), data.getProcedures(null, "graph_recs", "%"), data.getTablePrivileges(null, "graph_recs", "%"),
                data.getUDTs(null, "graph_recs", "%", null), data.getCatalogs(), data.getTableTypes(), data.getTypeInfo())) {
            while (rows.next()) {
                rows.getObject(1);
            }
        }
        require(data.getDatabaseProductName().equals("PostgreSQL"), "product");
    }

    /** A cursor of the driver: a portal that is fetched a few rows at a time. */
    private static void inPortions(Connection connection, long all) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(7);
            long count = 0;
            try (ResultSet rows = statement.executeQuery("SELECT user_id, rec_id, rank, score FROM recommendations ORDER BY user_id, rank")) {
                while (rows.next()) {
                    require(rows.getBigDecimal("score").scale() == 8, "scale");
                    count++;
                }
            }
            require(count == all, "portions gave " + count + " of " + all);
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    /** Often enough for the driver to name the statement and to ask for binary values. */
    private static void prepared(Connection connection, long all) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT count(*), max(score) FROM recommendations WHERE rank <= ?")) {
            for (int rank = 1; rank <= 20; rank++) {
                statement.setInt(1, rank);
                try (ResultSet rows = statement.executeQuery()) {
                    require(rows.next() && rows.getLong(1) <= all && rows.getBigDecimal(2).signum() > 0, "rank " + rank);
                    if (rank == 20) {
                        require(rows.getLong(1) == all, "all ranks");
                    }
                }
            }
        }
    }

    /** Oids are bound as 64 bits by some tools. */
    private static void oids(Connection connection) throws SQLException {
        long schema = one(connection, "SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'graph_recs'");
        String sql = "SELECT c.oid, a.attname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = ? AND c.relname = ?";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setLong(1, schema);
            statement.setString(2, "recommendations");
            require(strings(statement.executeQuery(), "attname").size() == 4, "columns by oid");
        }
    }

    private static void types(Connection connection) throws SQLException {
        String sql = "SELECT 1::smallint, 2::bigint, 0.5::double precision, true, 'ä', timestamptz '2019-10-01 12:00:00Z', date '2019-10-01', ARRAY[1, 2], NULL::int";
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            ResultSetMetaData data = rows.getMetaData();
            require(rows.next(), "no row");
            require(rows.getShort(1) == 1 && rows.getLong(2) == 2 && rows.getDouble(3) == 0.5 && rows.getBoolean(4), "numbers");
            require(rows.getString(5).equals("ä") && rows.getTimestamp(6).getTime() == 1569931200000L, "text and time");
            require(rows.getDate(7).toString().equals("2019-10-01"), "date");
            require(((Object[]) rows.getArray(8).getArray()).length == 2 && data.getColumnTypeName(8).startsWith("_int"), "list");
            require(rows.getObject(9) == null, "null");
        }
    }

    private static void refused(Connection connection) throws SQLException {
        for (String sql : List.of("DELETE FROM recommendations", "SELECT * FROM raw.messages", "SELECT nothing")) {
            try (Statement statement = connection.createStatement()) {
                statement.execute(sql);
                throw new AssertionError("not refused: " + sql);
            } catch (SQLException expected) {
                require(expected.getSQLState() != null, "no state");
            }
        }
    }

    private static long one(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            require(rows.next(), sql);
            return rows.getLong(1);
        }
    }

    private static List<String> strings(ResultSet rows, String column) throws SQLException {
        List<String> found = new ArrayList<>();
        try (rows) {
            while (rows.next()) {
                found.add(rows.getString(column));
            }
        }
        return found;
    }

    private static void require(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
