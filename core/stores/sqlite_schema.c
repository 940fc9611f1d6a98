/* SPDX-License-Identifier: Apache-2.0 */
/* Schema, migrations and every statement of the SQLite store. */
#include "sqlite_store.h"

/*
 * The file is meant to be read with the sqlite3 program too; begin with
 *     SELECT * FROM samples_readable WHERE labels ->> '__name__' = 'up' LIMIT 10;
 * and histograms_readable, exemplars_readable, metadata_readable.
 *
 * tenants      a name per value of the tenant header; '' for requests without one
 * series       labels as a JSON object with sorted names; fingerprint is pra_labels_fingerprint as
 *              a signed number, series that collide are told apart by labels
 * label_index  one row for each label of each series: what matchers look up
 * samples      time in ms since the epoch; value is a number, or for what SQLite cannot hold as one
 *              (NaN, stale marker, -0.0) a BLOB of the 8 bytes, most significant first
 * histograms   native ones; data is a message io.prometheus.write.v2.Histogram and has everything,
 *              count and sum are there for people; a series has no sample at the same time
 * exemplars    of series; labels as in series
 * metadata     of metric families: what came last; type is the number of MetricMetadata.MetricType
 *
 * PRAGMA application_id says whose file it is ("PRA1"), user_version which of the steps below it
 * has seen. A step is never changed once it has been released.
 */
static const char *const migrations[] = {
    "CREATE TABLE tenants(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE series(id INTEGER PRIMARY KEY,"
    " tenant_id INTEGER NOT NULL REFERENCES tenants(id),"
    " fingerprint INTEGER NOT NULL, labels TEXT NOT NULL);"
    "CREATE INDEX series_fingerprint ON series(tenant_id, fingerprint);"
    "CREATE TABLE label_index(tenant_id INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,"
    " series_id INTEGER NOT NULL REFERENCES series(id),"
    " PRIMARY KEY(tenant_id, name, value, series_id)) WITHOUT ROWID;"
    "CREATE TABLE samples(series_id INTEGER NOT NULL REFERENCES series(id),"
    " timestamp_ms INTEGER NOT NULL, value REAL NOT NULL,"
    " PRIMARY KEY(series_id, timestamp_ms)) WITHOUT ROWID;"
    "CREATE VIEW samples_readable AS SELECT tenants.name AS tenant, series.labels AS labels,"
    " strftime('%Y-%m-%dT%H:%M:%f', timestamp_ms / 1000.0, 'unixepoch') || 'Z' AS time,"
    " CASE WHEN typeof(value) <> 'blob' THEN value ELSE CASE hex(value)"
    " WHEN '7FF0000000000002' THEN 'stale' WHEN '8000000000000000' THEN '-0.0' ELSE 'NaN' END"
    " END AS value, timestamp_ms, series_id"
    " FROM samples JOIN series ON series.id = series_id JOIN tenants ON tenants.id = tenant_id;"
    "PRAGMA application_id = 1347567921;",

#define READABLE_TIME                                                                              \
    " strftime('%Y-%m-%dT%H:%M:%f', timestamp_ms / 1000.0, 'unixepoch') || 'Z' AS time,"
#define READABLE(column)                                                                           \
    " CASE WHEN typeof(" column ") <> 'blob' THEN " column " ELSE CASE hex(" column ")"            \
    " WHEN '7FF0000000000002' THEN 'stale' WHEN '8000000000000000' THEN '-0.0' ELSE 'NaN' END"     \
    " END AS " column ","
    "CREATE TABLE histograms(series_id INTEGER NOT NULL REFERENCES series(id),"
    " timestamp_ms INTEGER NOT NULL, count REAL NOT NULL, sum REAL NOT NULL, data BLOB NOT NULL,"
    " PRIMARY KEY(series_id, timestamp_ms)) WITHOUT ROWID;"
    "CREATE VIEW histograms_readable AS SELECT tenants.name AS tenant, series.labels AS "
    "labels," READABLE_TIME READABLE("count") READABLE(
        "sum") " hex(data) AS data, timestamp_ms, series_id"
               " FROM histograms JOIN series ON series.id = series_id JOIN tenants ON tenants.id = "
               "tenant_id;"

               "CREATE TABLE exemplars(series_id INTEGER NOT NULL REFERENCES series(id),"
               " timestamp_ms INTEGER NOT NULL, labels TEXT NOT NULL, value REAL NOT NULL,"
               " PRIMARY KEY(series_id, timestamp_ms, labels, value)) WITHOUT ROWID;"
               "CREATE VIEW exemplars_readable AS SELECT tenants.name AS tenant, series.labels AS "
               "labels," READABLE_TIME " exemplars.labels AS exemplar," READABLE(
                   "value") " timestamp_ms, series_id"
                            " FROM exemplars JOIN series ON series.id = series_id JOIN tenants ON "
                            "tenants.id = tenant_id;"

                            "CREATE TABLE metadata(tenant_id INTEGER NOT NULL REFERENCES "
                            "tenants(id),"
                            " family TEXT NOT NULL, type INTEGER NOT NULL, help TEXT NOT NULL, "
                            "unit TEXT NOT NULL,"
                            " PRIMARY KEY(tenant_id, family)) WITHOUT ROWID;"
                            "CREATE VIEW metadata_readable AS SELECT tenants.name AS tenant, "
                            "family,"
                            " CASE type WHEN 1 THEN 'counter' WHEN 2 THEN 'gauge' WHEN 3 THEN "
                            "'histogram'"
                            " WHEN 4 THEN 'gaugehistogram' WHEN 5 THEN 'summary' WHEN 6 THEN 'info'"
                            " WHEN 7 THEN 'stateset' ELSE 'unknown' END AS type, help, unit"
                            " FROM metadata JOIN tenants ON tenants.id = tenant_id;",
};

enum { APPLICATION_ID = 1347567921, SCHEMA_VERSION = sizeof migrations / sizeof *migrations };

const char *const pra__sql_text[SQL_STATEMENTS] = {
    [SQL_BEGIN_READ] = "BEGIN",
    [SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_TENANT_FIND] = "SELECT id FROM tenants WHERE name = ?1",
    [SQL_TENANT_ADD] = "INSERT INTO tenants(name) VALUES(?1)",
    [SQL_SERIES_FIND] =
        "SELECT id, EXISTS(SELECT 1 FROM histograms WHERE series_id = series.id) FROM series WHERE "
        "tenant_id = ?1 AND fingerprint = ?2 AND labels = ?3",
    [SQL_SERIES_ADD] =
        "INSERT INTO series(tenant_id, fingerprint, labels, id) VALUES(?1, ?2, ?3, ?4)",
    [SQL_LABEL_ADD] =
        "INSERT INTO label_index(tenant_id, name, value, series_id) VALUES(?1, ?2, ?3, ?4)",
    [SQL_SAMPLE_ADD] =
        "INSERT OR IGNORE INTO samples(series_id, timestamp_ms, value) VALUES(?1, ?2, ?3)",
    [SQL_SAMPLE_ADD_MIXED] =
        "INSERT OR IGNORE INTO samples(series_id, timestamp_ms, value) SELECT ?1, ?2, ?3 WHERE NOT "
        "EXISTS(SELECT 1 FROM histograms WHERE series_id = ?1 AND timestamp_ms = ?2)",
    [SQL_HISTOGRAM_ADD] =
        "INSERT OR IGNORE INTO histograms(series_id, timestamp_ms, data, count, sum) "
        "SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT "
        "EXISTS(SELECT 1 FROM samples WHERE series_id = ?1 AND timestamp_ms = ?2)",
    [SQL_HISTOGRAM_GET] = "SELECT data FROM histograms WHERE series_id = ?1 AND timestamp_ms = ?2",
    [SQL_EXEMPLAR_ADD] = "INSERT OR IGNORE INTO exemplars(series_id, timestamp_ms, value, labels) "
                         "VALUES(?1, ?2, ?3, ?4)",
    [SQL_METADATA_FIND] = "SELECT type = ?3 AND help = ?4 AND unit = ?5 FROM metadata WHERE "
                          "tenant_id = ?1 AND family = ?2",
    [SQL_METADATA_PUT] = "INSERT OR REPLACE INTO metadata(tenant_id, family, type, help, unit) "
                         "VALUES(?1, ?2, ?3, ?4, ?5)",
    [SQL_SAMPLE_GET] = "SELECT value FROM samples WHERE series_id = ?1 AND timestamp_ms = ?2",
    [SQL_NEXT_SERIES] = "SELECT id, tenant_id, fingerprint, labels FROM series WHERE id > ?1 "
                        "ORDER BY id LIMIT 1",
    [SQL_NEXT_EXEMPLARS] = "SELECT id, tenant_id, fingerprint, labels FROM series WHERE id = "
                           "(SELECT series_id FROM exemplars WHERE series_id > ?1 ORDER BY "
                           "series_id LIMIT 1)",
    [SQL_OLD_SAMPLE] = "SELECT timestamp_ms FROM samples WHERE series_id = ?1 AND "
                       "timestamp_ms < ?2 ORDER BY timestamp_ms LIMIT 1 OFFSET ?3",
    [SQL_OLD_HISTOGRAM] = "SELECT timestamp_ms FROM histograms WHERE series_id = ?1 AND "
                          "timestamp_ms < ?2 ORDER BY timestamp_ms LIMIT 1 OFFSET ?3",
    [SQL_OLD_EXEMPLAR] = "SELECT timestamp_ms FROM exemplars WHERE series_id = ?1 AND "
                         "timestamp_ms < ?2 ORDER BY timestamp_ms LIMIT 1 OFFSET ?3",
    [SQL_SAMPLES_DELETE] = "DELETE FROM samples WHERE series_id = ?1 AND timestamp_ms < ?2",
    [SQL_HISTOGRAMS_DELETE] = "DELETE FROM histograms WHERE series_id = ?1 AND timestamp_ms < ?2",
    [SQL_EXEMPLARS_DELETE] = "DELETE FROM exemplars WHERE series_id = ?1 AND timestamp_ms < ?2",
    /* by the whole key: many can have the same time */
    [SQL_EXEMPLARS_DELETE_SOME] =
        "DELETE FROM exemplars WHERE series_id = ?1 AND (timestamp_ms, labels, value) < (SELECT "
        "timestamp_ms, labels, value FROM exemplars WHERE series_id = ?1 AND timestamp_ms < ?2 "
        "ORDER BY timestamp_ms, labels, value LIMIT 1 OFFSET ?3)",
    [SQL_ANY_DATA] = "SELECT 1 FROM samples WHERE series_id = ?1 UNION ALL SELECT 1 FROM "
                     "histograms WHERE series_id = ?1 UNION ALL SELECT 1 FROM exemplars WHERE "
                     "series_id = ?1 LIMIT 1",
    [SQL_SERIES_DELETE] = "DELETE FROM series WHERE id = ?1",
    [SQL_LABEL_DELETE] = "DELETE FROM label_index WHERE tenant_id = ?1 AND name = ?2 AND "
                         "value = ?3 AND series_id = ?4",
    [SQL_VALUE_COUNT] = "SELECT count(*) FROM (SELECT 1 FROM label_index WHERE tenant_id = ?1 AND "
                        "name = ?2 AND value = ?3 LIMIT ?4)",
    [SQL_RANGE_COUNT] = "SELECT count(*) FROM (SELECT 1 FROM label_index WHERE tenant_id = ?1 AND "
                        "name = ?2 AND value >= ?3 AND value < ?4 LIMIT ?5)",
    [SQL_VALUE_SERIES] =
        "SELECT series_id FROM label_index WHERE tenant_id = ?1 AND name = ?2 AND value = ?3",
    [SQL_FIRST_VALUE] = "SELECT value FROM label_index WHERE tenant_id = ?1 AND name = ?2 AND "
                        "value >= ?3 ORDER BY value LIMIT 1",
    [SQL_NEXT_VALUE] = "SELECT value FROM label_index WHERE tenant_id = ?1 AND name = ?2 AND "
                       "value > ?3 ORDER BY value LIMIT 1",
    [SQL_SERIES_LABELS] = "SELECT labels FROM series WHERE id = ?1",
    [SQL_TENANT_SERIES] = "SELECT id FROM series WHERE tenant_id = ?1",
    [SQL_ANY_BETWEEN] =
        "SELECT 1 FROM samples WHERE series_id = ?1 AND timestamp_ms BETWEEN ?2 AND ?3 UNION ALL "
        "SELECT 1 FROM histograms WHERE series_id = ?1 AND timestamp_ms BETWEEN ?2 AND ?3 LIMIT 1",
    [SQL_SAMPLES] = "SELECT timestamp_ms, value FROM samples WHERE series_id = ?1 AND "
                    "timestamp_ms BETWEEN ?2 AND ?3 ORDER BY timestamp_ms",
    [SQL_HISTOGRAMS] = "SELECT timestamp_ms, data FROM histograms WHERE series_id = ?1 AND "
                       "timestamp_ms BETWEEN ?2 AND ?3 ORDER BY timestamp_ms",
};

static int pragma_number(sql_conn *conn, const char *sql, int64_t *out)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        rc = pra__sql_once(stmt, out);
        rc = rc == SQLITE_ROW ? SQLITE_OK : rc;
    }
    sqlite3_finalize(stmt);
    return rc;
}

static int migrate(sql_conn *conn, int64_t from)
{
    int rc = SQLITE_OK;
    for (int64_t version = from; rc == SQLITE_OK && version < SCHEMA_VERSION; version++) {
        char done[64];
        sqlite3_snprintf(sizeof done, done, "PRAGMA user_version = %d; COMMIT", (int)version + 1);
        rc = sqlite3_exec(conn->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        if (rc == SQLITE_OK)
            rc = sqlite3_exec(conn->db, migrations[version], NULL, NULL, NULL);
        if (rc == SQLITE_OK)
            rc = sqlite3_exec(conn->db, done, NULL, NULL, NULL);
        if (!sqlite3_get_autocommit(conn->db))
            sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return rc;
}

/* SQLite before 3.51.3 (3.50.7, 3.44.6) is safe here by the one-checkpointer rule of
 * sqlite_store.h; what the store needs beyond that is WAL on this file system. */
static int use_wal(sql_conn *conn, pra_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(conn->db, "PRAGMA journal_mode = WAL", -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    bool wal =
        rc == SQLITE_ROW && sqlite3_stricmp((const char *)sqlite3_column_text(stmt, 0), "wal") == 0;
    int code = rc == SQLITE_ROW ? PRA_OK : pra__sql_error(conn, rc, err);
    sqlite3_finalize(stmt);
    if (code == PRA_OK && !wal)
        code = pra_error_set_cstr(err, PRA_ERR_IO,
                                  "this file system does not support SQLite's WAL mode");
    return code;
}

int pra__sql_schema_prepare(sql_conn *conn, pra_error *err)
{
    int64_t application = 0, version = 0, objects = 0;
    int rc = pragma_number(conn, "PRAGMA application_id", &application);
    if (rc == SQLITE_OK)
        rc = pragma_number(conn, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK)
        rc = pragma_number(conn, "SELECT count(*) FROM sqlite_schema", &objects);
    if (rc != SQLITE_OK)
        return pra__sql_error(conn, rc, err);
    if (objects && application != APPLICATION_ID)
        return pra_error_set_cstr(err, PRA_ERR_CORRUPT,
                                  "the file is an SQLite database of another program");
    if (version < 0 || version > SCHEMA_VERSION)
        return pra__store_fail(err, PRA_ERR_NOT_SUPPORTED,
                               "the file has schema version %d, this program knows up to %d",
                               (int)version, (int)SCHEMA_VERSION);
    int code = use_wal(conn, err);
    if (code != PRA_OK)
        return code;
    rc = sqlite3_exec(conn->db,
                      "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;" /* macOS needs both */
                      "PRAGMA checkpoint_fullfsync = ON; PRAGMA secure_delete = OFF;"
                      "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536;"
                      "PRAGMA wal_autocheckpoint = 16384; PRAGMA journal_size_limit = 67108864",
                      NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = migrate(conn, version);
    return rc == SQLITE_OK ? PRA_OK : pra__sql_error(conn, rc, err);
}
