/* SPDX-License-Identifier: Apache-2.0 */
#include "store_behaviour.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stores/sqlite_store.h"

static char folder[64];
static char path[128];

static int open_store(const pra_alloc *alloc, const pra_store_opts *opts, pra_storage *out,
                      pra_error *err)
{
    char address[160];
    snprintf(address, sizeof address, "sqlite:%s", path);
    return pra_store_open(alloc, cstr(address), opts, out, err);
}

static void remove_store(void)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-lock"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char name[160];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
}

static int setup_clean(void **state)
{
    remove_store();
    return setup(state);
}

#undef STORE_TEST
#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, setup_clean, teardown)

static void close_store(struct fixture *f)
{
    f->store.vtbl->destroy(f->store.self);
    f->store.vtbl = NULL;
}

static void reopen(struct fixture *f)
{
    close_store(f);
    assert_int_equal(open_store(NULL, &keep_all, &f->store, &f->err), PRA_OK);
}

/* First column of the first row as a number, on a connection of our own. */
static int64_t ask(const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return value;
}

static void execute(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* ---- the file */

static void data_outlives_the_store(void **state)
{
    struct fixture *f = *state;
    write_one(f, "a=1", 1, 1);
    reopen(f);
    assert_string_equal(QUERY(f, "a=1"), "a=1 1:1\n");
    write_one(f, "a=1", 1, 1);
    write_one(f, "a=1", 2, 2);
    write_one(f, "a=2", 2, 2);
    reopen(f);
    assert_string_equal(QUERY(f, "a!="), "a=1 1:1 2:2\na=2 2:2\n");
    assert_int_equal(ask("SELECT count(*) FROM series"), 2);
}

static void opens_once_at_a_time(void **state)
{
    (void)state;
    pra_storage second;
    pra_error err = {0};
    assert_int_equal(open_store(NULL, NULL, &second, &err), PRA_ERR_IO);
    assert_non_null(strstr(err.message, "is in use"));
}

static void refuses_files_that_are_not_its_own(void **state)
{
    struct fixture *f = *state;
    pra_error err = {0};
    close_store(f);
    execute("PRAGMA user_version = 99");
    assert_int_equal(open_store(NULL, NULL, &f->store, &err), PRA_ERR_NOT_SUPPORTED);
    remove_store();
    execute("CREATE TABLE notes(text)");
    assert_int_equal(open_store(NULL, NULL, &f->store, &err), PRA_ERR_CORRUPT);
    assert_int_equal(ask("SELECT count(*) FROM notes"), 0);
    remove_store();
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        fputs("this is no database\n", file);
    fclose(file);
    assert_int_equal(open_store(NULL, NULL, &f->store, &err), PRA_ERR_CORRUPT);
    f->store.vtbl = NULL;
}

static void paths(void **state)
{
    (void)state;
    pra_storage store;
    pra_error err = {0};
    assert_int_equal(pra_store_sqlite_open(NULL, "", NULL, &store, &err), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_store_open(NULL, STR("sqlite:a\0b"), NULL, &store, &err),
                     PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_store_sqlite_open(NULL, ":memory:", NULL, &store, &err),
                     PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_store_sqlite_open(NULL, "/nowhere/at/all.db", NULL, &store, &err),
                     PRA_ERR_IO);
    char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(pra_store_sqlite_open(NULL, "file:x?mode=memory", NULL, &store, &err), PRA_OK);
    store.vtbl->destroy(store.self);
    assert_int_equal(unlink("file:x?mode=memory"), 0);
    assert_int_equal(unlink("file:x?mode=memory-lock"), 0);
    assert_int_equal(chdir(before), 0);
    free(before);
}

/* Two names of one file must not make two stores on it: each would checkpoint. */
static void a_file_is_locked_under_every_name(void **state)
{
    (void)state;
    char other[160];
    pra_storage second;
    pra_error err = {0};
    snprintf(other, sizeof other, "%s/other.db", folder);
    assert_int_equal(symlink(path, other), 0);
    int code = pra_store_sqlite_open(NULL, other, NULL, &second, &err);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(code, PRA_ERR_IO);
    assert_non_null(strstr(err.message, "is in use"));
}

static void a_relative_path_is_of_the_directory_it_was_opened_in(void **state)
{
    struct fixture *f = *state;
    char *before = getcwd(NULL, 0);
    close_store(f);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(pra_store_sqlite_open(NULL, strrchr(path, '/') + 1, NULL, &f->store, &f->err),
                     PRA_OK);
    assert_int_equal(chdir("/"), 0);
    write_one(f, "a=1", 1, 1);
    assert_string_equal(QUERY(f, "a=1"), "a=1 1:1\n");
    assert_int_equal(chdir(before), 0);
    free(before);
}

static void others_can_read_it_meanwhile(void **state)
{
    struct fixture *f = *state;
    add_series(f, "__name__=up,job=x");
    add_sample(f, 1500, 1);
    add_bits(f, 2500, PRA_STALE_NAN_BITS);
    add_bits(f, 3500, 0x8000000000000000);
    write_ok(f);
    assert_int_equal(ask("SELECT count(*) FROM samples_readable WHERE tenant = '' AND "
                         "labels ->> '__name__' = 'up' AND "
                         "((time = '1970-01-01T00:00:01.500Z' AND value = 1) OR "
                         "(time = '1970-01-01T00:00:02.500Z' AND value = 'stale') OR "
                         "(time = '1970-01-01T00:00:03.500Z' AND value = '-0.0'))"),
                     3);
    write_one(f, "a=1", 1, 1); /* the reader's going checkpointed and removed nothing */
    reopen(f);
    assert_string_equal(QUERY(f, "a=1"), "a=1 1:1\n");
}

static void people_find_histograms_exemplars_and_metadata(void **state)
{
    struct fixture *f = *state;
    add_series(f, "__name__=rpc,job=x");
    add_histogram(f, 1500, 4);
    add_histogram(f, 2500, NAN);
    add_exemplar(f, "trace_id=abc", 1500, 0.25);
    add_metadata(f, PRA_METRIC_HISTOGRAM, "", "Time of a call.", "seconds");
    write_ok(f);
    f->context.tenant = cstr("other");
    add_metadata(f, 99, "rpc", "", "");
    write_ok(f);
    assert_int_equal(ask("SELECT count(*) FROM histograms_readable WHERE tenant = '' AND "
                         "labels ->> 'job' = 'x' AND length(data) > 0 AND "
                         "((time = '1970-01-01T00:00:01.500Z' AND count = 4 AND sum = 2) OR "
                         "(time = '1970-01-01T00:00:02.500Z' AND sum = 'stale'))"),
                     2);
    assert_int_equal(ask("SELECT count(*) FROM exemplars_readable WHERE tenant = '' AND "
                         "labels ->> 'job' = 'x' AND exemplar ->> 'trace_id' = 'abc' AND "
                         "time = '1970-01-01T00:00:01.500Z' AND value = 0.25"),
                     1);
    assert_int_equal(ask("SELECT count(*) FROM metadata_readable WHERE family = 'rpc' AND "
                         "((tenant = '' AND type = 'histogram' AND help = 'Time of a call.' AND "
                         "unit = 'seconds') OR (tenant = 'other' AND type = 'unknown'))"),
                     2);
}

/* ---- the schema before histograms */

static void a_file_of_the_first_version_is_taken_over(void **state)
{
    struct fixture *f = *state;
    close_store(f);
    remove_store();
    execute("CREATE TABLE tenants(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
            "CREATE TABLE series(id INTEGER PRIMARY KEY,"
            " tenant_id INTEGER NOT NULL REFERENCES tenants(id),"
            " fingerprint INTEGER NOT NULL, labels TEXT NOT NULL);"
            "CREATE INDEX series_fingerprint ON series(tenant_id, fingerprint);"
            "CREATE TABLE label_index(tenant_id INTEGER NOT NULL, name TEXT NOT NULL, value TEXT "
            "NOT NULL, series_id INTEGER NOT NULL REFERENCES series(id),"
            " PRIMARY KEY(tenant_id, name, value, series_id)) WITHOUT ROWID;"
            "CREATE TABLE samples(series_id INTEGER NOT NULL REFERENCES series(id),"
            " timestamp_ms INTEGER NOT NULL, value REAL NOT NULL,"
            " PRIMARY KEY(series_id, timestamp_ms)) WITHOUT ROWID;"
            "CREATE VIEW samples_readable AS SELECT * FROM samples;"
            "INSERT INTO tenants VALUES(1, '');"
            "INSERT INTO series VALUES(7, 1, 7311538254805615637, '{\"a\":\"1\"}');"
            "INSERT INTO label_index VALUES(1, 'a', '1', 7);"
            "INSERT INTO samples VALUES(7, 5, 0.5), (7, 6, x'7FF0000000000002');"
            "PRAGMA application_id = 1347567921; PRAGMA user_version = 1");
    assert_int_equal(open_store(NULL, &keep_all, &f->store, &f->err), PRA_OK);
    assert_string_equal(QUERY(f, "a=1"), "a=1 5:0.5 6:nan-7ff0000000000002\n");
    add_series(f, "a=1");
    add_sample(f, 5, 0.5);
    add_histogram(f, 7, 3);
    add_exemplar(f, "trace_id=x", 5, 1);
    add_metadata(f, PRA_METRIC_GAUGE, "a", "", "");
    write_ok(f);
    reopen(f);
    assert_string_equal(QUERY(f, "a=1"), "a=1 5:0.5 6:nan-7ff0000000000002 7:h3/1.5\n");
    assert_int_equal(ask("SELECT count(*) FROM series"), 1); /* found by its fingerprint */
    assert_int_equal(ask("PRAGMA user_version"), 2);
    assert_true(metric(f, "exemplars") == 1 && metric(f, "metadata") == 1);
}

/* ---- plans */

static void expect_plan(sqlite3 *db, int which, const char *expected)
{
    char sql[1024];
    sqlite3_stmt *stmt;
    snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", pra__sql_text[which]);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    int found = 0;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *detail = (const char *)sqlite3_column_text(stmt, 3);
        assert_null(strstr(detail, "TEMP B-TREE"));
        if (strncmp(detail, "SCAN", 4) == 0 && !strstr(detail, "subquery") &&
            !strstr(detail, "CONSTANT"))
            fail_msg("%s: %s", sql, detail);
        found += strstr(detail, expected) != NULL;
    }
    if (!found)
        fail_msg("%s: not by %s", sql, expected);
    sqlite3_finalize(stmt);
}

static void statements_use_the_indexes(void **state)
{
    (void)state;
#define LABELS "SEARCH label_index USING PRIMARY KEY (tenant_id=? AND name=? AND value"
    static const struct {
        int which;
        const char *plan;
    } plans[] = {
        {SQL_TENANT_FIND,
         "SEARCH tenants USING COVERING INDEX sqlite_autoindex_tenants_1 (name=?)"},
        {SQL_SERIES_FIND,
         "SEARCH series USING INDEX series_fingerprint (tenant_id=? AND fingerprint=?)"},
        {SQL_SAMPLE_GET, "SEARCH samples USING PRIMARY KEY (series_id=? AND timestamp_ms=?)"},
        {SQL_SERIES_FIND, "SEARCH histograms USING PRIMARY KEY (series_id=?)"},
        {SQL_SAMPLE_ADD_MIXED,
         "SEARCH histograms USING PRIMARY KEY (series_id=? AND timestamp_ms=?)"},
        {SQL_HISTOGRAM_ADD, "SEARCH samples USING PRIMARY KEY (series_id=? AND timestamp_ms=?)"},
        {SQL_HISTOGRAM_GET, "SEARCH histograms USING PRIMARY KEY (series_id=? AND timestamp_ms=?)"},
        {SQL_METADATA_FIND, "SEARCH metadata USING PRIMARY KEY (tenant_id=? AND family=?)"},
        {SQL_NEXT_EXEMPLARS, "SEARCH exemplars USING PRIMARY KEY (series_id>?)"},
        {SQL_OLD_HISTOGRAM, "SEARCH histograms USING PRIMARY KEY (series_id=? AND timestamp_ms<?)"},
        {SQL_OLD_EXEMPLAR, "SEARCH exemplars USING PRIMARY KEY (series_id=? AND timestamp_ms<?)"},
        {SQL_HISTOGRAMS_DELETE,
         "SEARCH histograms USING PRIMARY KEY (series_id=? AND timestamp_ms<?)"},
        {SQL_EXEMPLARS_DELETE,
         "SEARCH exemplars USING PRIMARY KEY (series_id=? AND timestamp_ms<?)"},
        {SQL_EXEMPLARS_DELETE_SOME,
         "SEARCH exemplars USING PRIMARY KEY (series_id=? AND timestamp_ms<?)"},
        {SQL_HISTOGRAMS,
         "SEARCH histograms USING PRIMARY KEY (series_id=? AND timestamp_ms>? AND timestamp_ms<?)"},
        {SQL_ANY_BETWEEN,
         "SEARCH histograms USING PRIMARY KEY (series_id=? AND timestamp_ms>? AND timestamp_ms<?)"},
        {SQL_NEXT_SERIES, "SEARCH series USING INTEGER PRIMARY KEY (rowid>?)"},
        {SQL_OLD_SAMPLE, "SEARCH samples USING PRIMARY KEY (series_id=? AND timestamp_ms<?)"},
        {SQL_SAMPLES_DELETE, "SEARCH samples USING PRIMARY KEY (series_id=? AND timestamp_ms<?)"},
        {SQL_ANY_DATA, "SEARCH samples USING PRIMARY KEY (series_id=?)"},
        {SQL_SERIES_DELETE, "SEARCH series USING INTEGER PRIMARY KEY (rowid=?)"},
        {SQL_LABEL_DELETE, LABELS "=? AND series_id=?)"},
        {SQL_VALUE_COUNT, LABELS "=?)"},
        {SQL_RANGE_COUNT, LABELS ">? AND value<?)"},
        {SQL_VALUE_SERIES, LABELS "=?)"},
        {SQL_FIRST_VALUE, LABELS ">?)"},
        {SQL_NEXT_VALUE, LABELS ">?)"},
        {SQL_SERIES_LABELS, "SEARCH series USING INTEGER PRIMARY KEY (rowid=?)"},
        {SQL_TENANT_SERIES, "SEARCH series USING COVERING INDEX series_fingerprint (tenant_id=?)"},
        {SQL_SAMPLES,
         "SEARCH samples USING PRIMARY KEY (series_id=? AND timestamp_ms>? AND timestamp_ms<?)"},
    };
#undef LABELS
    sqlite3 *db;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        expect_plan(db, plans[i].which, plans[i].plan);
    sqlite3_close(db);
}

/* Steps of SQLite's virtual machine, a measure of work that does not depend on the clock. */
static int work_of(struct fixture *f, const char *const *matchers)
{
    sql_store *store = f->store.self;
    int work = 0;
    assert_int_equal(query_range(f, INT64_MIN, INT64_MAX, matchers), PRA_OK);
    for (int i = 0; i < SQL_STATEMENTS; i++)
        if (store->pool->statements[i])
            sqlite3_stmt_status(store->pool->statements[i], SQLITE_STMTSTATUS_VM_STEP, 1);
    assert_int_equal(query_range(f, INT64_MIN, INT64_MAX, matchers), PRA_OK);
    for (int i = 0; i < SQL_STATEMENTS; i++)
        if (store->pool->statements[i])
            work += sqlite3_stmt_status(store->pool->statements[i], SQLITE_STMTSTATUS_VM_STEP, 1);
    return work;
}

static void a_narrow_query_does_not_look_at_all_series(void **state)
{
    enum { SERIES = 3000 };
    struct fixture *f = *state;
    for (int i = 0; i < SERIES; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "__name__=m%d,all=x,n=%d", i % 1000, i);
        add_series(f, labels);
        add_sample(f, 1, 1);
    }
    write_ok(f);
    assert_true(work_of(f, (const char *const[]){"all=x", NULL}) > SERIES);
    assert_true(work_of(f, (const char *const[]){"all=x", "n=77", NULL}) < SERIES);
    assert_true(work_of(f, (const char *const[]){"all=~.+", "n=~7|8", NULL}) < SERIES);
    assert_true(work_of(f, (const char *const[]){"all=x", "__name__=~m99.*", NULL}) < SERIES);
    assert_true(work_of(f, (const char *const[]){"all!=y", "zone=", "n=77", NULL}) < SERIES);
}

/* ---- failures */

static void set_max_pages(struct fixture *f, int64_t pages)
{
    sql_store *store = f->store.self;
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld", (long long)pages);
    assert_int_equal(sqlite3_exec(store->writer.db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void add_many(struct fixture *f, int series, int samples)
{
    for (int i = 0; i < series; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "__name__=many,i=%d", i);
        add_series(f, labels);
        for (int t = 0; t < samples; t++)
            add_sample(f, t, t + i / 3.0);
    }
}

static void expect_many(struct fixture *f, int series, int samples)
{
    char sql[200];
    QUERY(f, "__name__=many");
    assert_int_equal(count_of_char(f->dump, '\n'), series);
    assert_int_equal(count_of_char(f->dump, ' '), series * samples);
    snprintf(sql, sizeof sql,
             "SELECT (SELECT count(*) FROM label_index WHERE name = 'i') = %d AND "
             "(SELECT count(*) FROM series WHERE labels ->> '__name__' = 'many') = %d",
             series, series);
    assert_int_equal(ask(sql), 1);
}

static void a_full_disk_is_answered_with_retry(void **state)
{
    struct fixture *f = *state;
    write_one(f, "a=1", 1, 1);
    set_max_pages(f, 20);
    add_many(f, 100, 100);
    assert_int_equal(write_request(f), PRA_ERR_RETRY);
    assert_int_equal(f->err.code, PRA_ERR_RETRY);
    assert_int_equal(f->err.http_status, 503);
    assert_non_null(strstr(f->err.message, "full"));
    assert_string_equal(QUERY(f, "a=1"), "a=1 1:1\n");
    assert_string_equal(QUERY(f, "__name__=many"), "");
    set_max_pages(f, 1000000);
    /* No id of the series that were taken back may have stayed in the cache. */
    add_many(f, 100, 100);
    write_ok(f);
    expect_many(f, 100, 100);
    reopen(f);
    expect_many(f, 100, 100);
    assert_int_equal(ask("SELECT count(*) FROM pragma_integrity_check WHERE "
                         "integrity_check = 'ok'"),
                     1);
}

static void count_level(void *ctx, int32_t level, const char *message)
{
    (void)message;
    ((int *)ctx)[level]++;
}

static void failures_are_logged_once(void **state)
{
    struct fixture *f = *state;
    int lines[4] = {0};
    pra_store_opts opts = {.size = sizeof opts, .log = {lines, count_level}};
    close_store(f);
    assert_int_equal(open_store(NULL, &opts, &f->store, &f->err), PRA_OK);
    set_max_pages(f, 20);
    for (int i = 0; i < 3; i++) {
        add_many(f, 100, 100);
        assert_int_equal(write_request(f), PRA_ERR_RETRY);
    }
    assert_int_equal(lines[3], 1);
    assert_int_equal(lines[1], 0);
    set_max_pages(f, 1000000);
    write_one(f, "a=1", 1, 1);
    write_one(f, "a=1", 2, 1);
    assert_int_equal(lines[3], 1);
    assert_int_equal(lines[1], 1);
}

static void an_io_error_is_answered_with_retry(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, small;
    write_one(f, "a=1", 1, 1);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100000;
    add_many(f, 100, 100);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int code = write_request(f);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(code, PRA_ERR_RETRY);
    assert_string_equal(QUERY(f, "a=1"), "a=1 1:1\n");
    add_many(f, 100, 100);
    write_ok(f);
    expect_many(f, 100, 100);
}

static void labels_too_large_for_sqlite_are_refused_alone(void **state)
{
    enum { HUGE_BYTES = 65 * 1024 * 1024 };
    struct fixture *f = *state;
    char *value = malloc(HUGE_BYTES);
    assert_non_null(value);
    memset(value, 'x', HUGE_BYTES);
    pra_label label = {STR("a"), {value, HUGE_BYTES}};
    assert_int_equal(pra_write_request_add_series(f->request, &label, 1), PRA_OK);
    add_sample(f, 1, 1);
    add_sample(f, 2, 1);
    add_series(f, "a=1");
    add_sample(f, 1, 1);
    free(value);
    pra__write_result_init(&f->result, f->request);
    assert_int_equal(f->store.vtbl->write(f->store.self, NULL, f->request, &f->result, &f->err),
                     PRA_OK);
    assert_int_equal(f->result.rejected[PRA_DATUM_SAMPLE], 2);
    pra_write_request_reset(f->request);
    assert_string_equal(QUERY(f, "a!="), "a=1 1:1\n");
}

/* As refused_memory_harms_nothing, for the memory that SQLite takes by itself. Returns whether
 * nothing was refused. */
static int run_with_little_memory(struct fixture *f, int64_t bytes)
{
    const char *const matchers[] = {"b=~0|1", "a!=", NULL};
    remove_store();
    assert_int_equal(open_store(NULL, &keep_all, &f->store, &f->err), PRA_OK);
    write_one(f, "a=1,b=9", 1, 1);
    sqlite3_hard_heap_limit64(sqlite3_memory_used() + bytes);
    oom_write(f);
    int wrote = write_request(f);
    int read = query_range(f, INT64_MIN, INT64_MAX, matchers);
    int swept = pra__sql_retention_step(f->store.self, before(2), 100);
    sqlite3_hard_heap_limit64(0);
    assert_true(wrote == PRA_OK || wrote == PRA_ERR_RETRY);
    assert_true(read == PRA_OK || read == PRA_ERR_RETRY);
    assert_true(swept == 1 || swept < 0);
    oom_write(f);
    write_ok(f);
    assert_int_equal(query_range(f, 2, INT64_MAX, matchers), PRA_OK);
    assert_int_equal(count_of_char(f->dump, '\n'), 6);
    assert_int_equal(count_of_char(f->dump, ' '), 30);
    assert_int_equal(ask("SELECT count(*) FROM exemplars"), 6);
    assert_int_equal(ask("SELECT count(*) FROM metadata"), 1);
    assert_int_equal(ask("SELECT (SELECT count(*) FROM label_index) = "
                         "2 * (SELECT count(*) FROM series)"),
                     1);
    close_store(f);
    return wrote == PRA_OK && read == PRA_OK && swept == 1;
}

static void sqlite_out_of_memory_harms_nothing(void **state)
{
    struct fixture *f = *state;
    close_store(f);
    int failed = 0;
    for (int64_t bytes = 1; !run_with_little_memory(f, bytes); bytes += 1500)
        failed++;
    assert_true(failed > 10);
}

static void a_damaged_value_is_reported(void **state)
{
    struct fixture *f = *state;
    write_one(f, "a=1", 1, 1);
    close_store(f);
    execute("UPDATE samples SET value = 'x'");
    assert_int_equal(open_store(NULL, &keep_all, &f->store, &f->err), PRA_OK);
    const char *const matchers[] = {"a=1", NULL};
    assert_int_equal(query_range(f, 0, 10, matchers), PRA_ERR_CALLBACK);
    assert_non_null(strstr(f->err.message, "cannot have written"));
    add_series(f, "a=1");
    add_sample(f, 1, 1);
    assert_int_equal(write_request(f), PRA_ERR_CORRUPT);
    write_one(f, "a=1", 2, 2);
}

static void a_damaged_histogram_is_reported(void **state)
{
    struct fixture *f = *state;
    const char *const matchers[] = {"a=1", NULL};
    add_series(f, "a=1");
    add_histogram(f, 1, 1);
    write_ok(f);
    close_store(f);
    execute("UPDATE histograms SET data = x'FFFFFF'");
    assert_int_equal(open_store(NULL, &keep_all, &f->store, &f->err), PRA_OK);
    assert_int_equal(query_range(f, 0, 10, matchers), PRA_ERR_CALLBACK);
    assert_non_null(strstr(f->err.message, "cannot have written"));
    add_series(f, "a=1");
    add_histogram(f, 1, 1);
    assert_int_equal(write_request(f), PRA_OK);
    assert_int_equal(f->result.rejected[PRA_DATUM_HISTOGRAM], 1);
}

/* ---- retention */

static void retention_in_tiny_steps(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "a=%d,b=x", i);
        add_series(f, labels);
        for (int t = 0; t <= i; t++)
            add_sample(f, t * 10, t);
    }
    write_ok(f);
    int steps = 0, through;
    do {
        through = pra__sql_retention_step(f->store.self, before(30), 1);
        assert_true(through >= 0);
        steps++;
    } while (!through);
    assert_true(steps >= 12); /* 12 samples are older */
    assert_string_equal(QUERY(f, "b=x"), "a=3,b=x 30:3\na=4,b=x 30:3 40:4\n");
    assert_int_equal(ask("SELECT count(*) FROM series"), 2);
    assert_int_equal(ask("SELECT count(*) FROM label_index"), 4);
    write_one(f, "a=1,b=x", 50, 5); /* a series that was gone and must not be in the cache */
    assert_string_equal(QUERY(f, "a=1"), "a=1,b=x 50:5\n");
    assert_int_equal(ask("SELECT count(*) FROM label_index"), 6);
    sql_store *store = f->store.self;
    assert_int_equal(atomic_load(&store->stats.series), 3);
    assert_int_equal(atomic_load(&store->stats.expired[PRA_DATUM_SAMPLE]), 12);
    assert_int_equal(pra__sql_retention_step(store, before(30), 1), 1); /* nothing to do */
}

/* More exemplars of one time than a step may delete. */
static void retention_takes_all_kinds(void **state)
{
    struct fixture *f = *state;
    sql_store *store = f->store.self;
    for (int i = 0; i < 3; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "a=%d", i);
        add_series(f, labels);
        add_histogram(f, 10, 1);
        add_histogram(f, 20, 2);
        for (int k = 0; k < 10; k++)
            add_exemplar(f, "trace_id=x", 10, k);
        add_exemplar(f, "trace_id=x", i == 2 ? 40 : 20, 1);
        if (i)
            add_sample(f, 30, 3);
    }
    write_ok(f);
    int steps = 1;
    while (!pra__sql_retention_step(store, (pra__cutoffs){INT64_MIN, 20}, 4))
        steps++;
    assert_true(steps >= 8); /* 30 of them, 4 a step */
    assert_int_equal(ask("SELECT count(*) FROM exemplars"), 3);
    assert_int_equal(ask("SELECT count(*) FROM histograms"), 6);
    while (!pra__sql_retention_step(store, before(30), 1))
        ;
    assert_string_equal(QUERY(f, "a!="), "a=1 30:3\na=2 30:3\n");
    assert_int_equal(ask("SELECT count(*) FROM exemplars"), 1);
    assert_int_equal(ask("SELECT count(*) FROM histograms"), 0);
    assert_true(metric(f, "expired_histograms_total") == 6);
    assert_true(metric(f, "expired_exemplars_total") == 32);
    while (!pra__sql_retention_step(store, (pra__cutoffs){31, 40}, 1))
        ;
    assert_int_equal(ask("SELECT count(*) FROM series"), 1); /* for its exemplar */
    while (!pra__sql_retention_step(store, (pra__cutoffs){INT64_MIN, 41}, 1))
        ;
    assert_int_equal(ask("SELECT count(*) FROM series"), 0);
    assert_true(metric(f, "series") == 0 && metric(f, "exemplars") == 0);
}

/* A running query must not find another series under the number of one that has gone. */
static void numbers_of_series_are_not_used_again(void **state)
{
    struct fixture *f = *state;
    write_one(f, "a=1", 1, 1);
    int64_t first = ask("SELECT max(id) FROM series");
    assert_int_equal(pra__sql_retention_step(f->store.self, before(30), 10), 1);
    assert_int_equal(ask("SELECT count(*) FROM series"), 0);
    write_one(f, "a=2", 1, 1);
    assert_int_equal(ask("SELECT max(id) FROM series"), first + 1);
}

static void retention_that_fails_changes_nothing(void **state)
{
    struct fixture *f = *state;
    sql_store *store = f->store.self;
    write_one(f, "a=1", 1, 1);
    assert_int_equal(sqlite3_exec(store->writer.db, "PRAGMA query_only = 1", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_true(pra__sql_retention_step(store, before(30), 10) < 0);
    assert_int_equal(sqlite3_exec(store->writer.db, "PRAGMA query_only = 0", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_string_equal(QUERY(f, "a=1"), "a=1 1:1\n");
    assert_int_equal(pra__sql_retention_step(store, before(30), 10), 1);
    assert_string_equal(QUERY(f, "a=1"), "");
}

/* ---- streamed answers */

enum { LONG_SERIES = 60, LONG_SAMPLES = 3000 };

/* Values that do not compress. */
static void write_long_series(struct fixture *f)
{
    for (int i = 0; i < LONG_SERIES; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "__name__=long,i=%02d", i);
        add_series(f, labels);
        for (int t = 0; t < LONG_SAMPLES; t++)
            add_sample(f, t, sqrt(i * LONG_SAMPLES + t));
    }
    write_ok(f);
}

static pra_read_request *stream_of(const char *matcher)
{
    pra_read_request *request = new_query(0, INT64_MAX, (const char *const[]){matcher, NULL});
    assert_int_equal(pra_read_request_add_accepted(request, PRA_RESPONSE_STREAMED_XOR_CHUNKS),
                     PRA_OK);
    return request;
}

/* Takes what is left of an answer; returns its bytes. */
static size_t take_rest(struct asking *a)
{
    const void *piece;
    size_t len, bytes = 0;
    int code;
    while ((code = asking_next(a, &piece, &len, NULL)) == PRA_OK)
        bytes += len;
    assert_int_equal(code, PRA_DONE);
    return bytes;
}

static void a_long_answer_takes_no_more_memory_than_a_short_one(void **state)
{
    enum { FRAME = 32768 };
    struct fixture *f = *state;
    size_t peak[2], answer[2];
    int64_t sqlite_peak[2];
    pra_limits limits;
    assert_int_equal(pra_limits_init(&limits, sizeof limits), PRA_OK);
    limits.max_frame_bytes = FRAME;
    write_long_series(f);
    for (int i = 0; i < 2; i++) {
        struct oom_alloc counted = {.fail_at = SIZE_MAX};
        pra_alloc alloc = {&counted, oom_fn};
        struct asking a;
        close_store(f); /* with the pages that it has in memory */
        assert_int_equal(open_store(&alloc, &keep_all, &f->store, &f->err), PRA_OK);
        counted.peak = counted.live;
        size_t open = counted.live;
        int64_t sqlite_open = sqlite3_memory_used();
        sqlite3_memory_highwater(1);
        pra_read_request *request = stream_of(i ? "__name__=long" : "i=~0[0-5]");
        assert_int_equal(
            asking_begin(&a, &alloc, &f->store, f->context.tenant, request, &limits, NULL), PRA_OK);
        answer[i] = take_rest(&a);
        peak[i] = counted.peak - open;
        sqlite_peak[i] = sqlite3_memory_highwater(0) - sqlite_open;
        asking_end(&a);
        pra_read_request_free(request);
        close_store(f);
        assert_int_equal(counted.live, 0);
        assert_int_equal(open_store(NULL, &keep_all, &f->store, &f->err), PRA_OK);
    }
    assert_true(answer[1] > 9 * answer[0] && answer[1] > 20 * FRAME);
    assert_true(peak[1] < peak[0] + FRAME);
    assert_true(sqlite_peak[1] < 4 * 1024 * 1024); /* its cache of pages */
}

/* A reader that takes a piece and then nothing for a while. */
/* Begins an answer of all long series and takes its first piece. *whole is its size. */
static pra_read_request *begin_long(struct fixture *f, struct asking *a, size_t *first,
                                    size_t *whole)
{
    pra_read_request *request = stream_of("__name__=long");
    const void *piece;
    write_long_series(f);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(asking_begin(a, NULL, &f->store, f->context.tenant, request, NULL, NULL),
                         PRA_OK);
        if (i == 0) {
            *whole = take_rest(a);
            asking_end(a);
        }
    }
    assert_int_equal(asking_next(a, &piece, first, NULL), PRA_OK);
    return request;
}

/* A reader that takes a piece and then nothing for a while. */
static void a_slow_reader_holds_nothing_up(void **state)
{
    struct fixture *f = *state;
    sql_store *store = f->store.self;
    struct asking a;
    size_t first, whole;
    pra_read_request *request = begin_long(f, &a, &first, &whole);
    assert_int_equal(store->readers, 1);
    assert_non_null(store->pool); /* its connection is free, */
    assert_int_equal(sqlite3_txn_state(store->pool->db, NULL), SQLITE_TXN_NONE);
    for (int i = 0; i < 3; i++) { /* and the log can be emptied */
        write_one(f, "__name__=other", i, i);
        assert_int_equal(sqlite3_wal_checkpoint_v2(store->writer.db, NULL,
                                                   SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL),
                         SQLITE_OK);
        assert_true(metric(f, "wal_bytes") == 0);
    }
    assert_int_equal(first + take_rest(&a), whole);
    asking_end(&a);
    pra_read_request_free(request);
}

static void series_that_go_during_an_answer_are_left_out(void **state)
{
    struct fixture *f = *state;
    struct asking a;
    size_t first, whole;
    pra_read_request *request = begin_long(f, &a, &first, &whole);
    while (pra__sql_retention_step(f->store.self, before(LONG_SAMPLES), 100000) == 0)
        ;
    assert_int_equal(ask("SELECT count(*) FROM series"), 0);
    f->context.tenant = cstr("other");
    write_long_series(f); /* none of these may come */
    assert_true(first + take_rest(&a) < whole / 10);
    asking_end(&a);
    pra_read_request_free(request);
}

/* ---- the cache of ids */

static int64_t cached(sql_cache *cache, int64_t tenant, int number, const char *text)
{
    sql_series series;
    bool found = pra__sql_cache_find(cache, tenant, (uint64_t)(number % 7), cstr(text), &series);
    return found ? series.id : 0;
}

static void a_small_cache_forgets_and_finds_again(void **state)
{
    enum { SERIES = 2000 };
    (void)state;
    sql_cache cache;
    assert_int_equal(pra__sql_cache_init(&cache, pra_alloc_libc(), 32768), PRA_OK);
    int found = 0, found_old = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 1; i <= SERIES; i++) {
            char text[32];
            snprintf(text, sizeof text, "{\"a\":\"%d\"}", i);
            int64_t id = cached(&cache, i % 3, i, text);
            assert_true(id == 0 || id == i);
            found += id == i;
            if (!id)
                pra__sql_cache_put(&cache, i % 3, (uint64_t)(i % 7), cstr(text),
                                   (sql_series){i, false});
            assert_int_equal(cached(&cache, i % 3, i, text), i);
            assert_int_equal(cached(&cache, 5, i, text), 0);
            int old = i - 150; /* in use again from time to time: kept over the generations */
            snprintf(text, sizeof text, "{\"a\":\"%d\"}", old);
            if (old > 0)
                found_old += cached(&cache, old % 3, old, text) == old;
        }
    }
    assert_true(found < SERIES); /* it did forget */
    assert_true(found_old > SERIES);
    pra_str last = STR("{\"a\":\"2000\"}");
    sql_series series;
    pra__sql_cache_mark(&cache, SERIES % 3, SERIES % 7, last);
    assert_true(pra__sql_cache_find(&cache, SERIES % 3, SERIES % 7, last, &series));
    assert_true(series.histograms);
    pra__sql_cache_remove(&cache, SERIES % 3, SERIES % 7, last);
    assert_int_equal(cached(&cache, SERIES % 3, SERIES, last.ptr), 0);
    pra__sql_cache_clear(&cache);
    assert_int_equal(cached(&cache, 1999 % 3, 1999, "{\"a\":\"1999\"}"), 0);
    pra__sql_cache_fini(&cache);
}

static void label_text_is_parsed_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "}",
        "{\"a\"}",
        "{\"a\":\"b\"",
        "{\"a\":b}",
        "{\"a\":\"b\"}x",
        "{,}",
        "{\"a\":\"\\n\"}",
        "{\"a\":\"\\u01\"}",
        "{\"a\":\"\\u0100\"}",
        "{\"a\":\"b\"\"c\":\"d\"}",
        "{\"a\":\"\\",
        "{\"a\":\"\\u00zz\"}",
    };
    sql_labels labels = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(pra__sql_labels_parse(pra_alloc_libc(), cstr(bad[i]), &labels),
                         PRA_ERR_CORRUPT);
    assert_int_equal(
        pra__sql_labels_parse(pra_alloc_libc(), STR("{\"a\":\"\\u0000\\\"\"}"), &labels), PRA_OK);
    assert_int_equal(labels.count, 1);
    assert_int_equal(labels.labels[0].value.len, 2);
    assert_memory_equal(labels.labels[0].value.ptr, "\0\"", 2);
    pra__sql_labels_fini(pra_alloc_libc(), &labels);
}

/* ---- threads */

static void a_retention_step(struct fixture *f)
{
    assert_true(pra__sql_retention_step(f->store.self, before(-1), 10) >= 0);
}

static void writers_share_commits(void **state)
{
    struct fixture *f = *state;
    sql_store *store = f->store.self;
    assert_int_equal(run_writers(f, a_retention_step), WRITERS * REQUESTS);
    assert_int_equal(atomic_load(&store->stats.commit_requests), WRITERS * REQUESTS);
    assert_true(atomic_load(&store->stats.commits) < WRITERS * REQUESTS);
    assert_int_equal(ask("SELECT count(*) FROM samples JOIN series ON id = series_id WHERE "
                         "CAST(labels ->> 'w' AS INTEGER) = value"),
                     WRITERS * REQUESTS * SAMPLES);
}

/* Every request of a transaction that failed is answered so, and none of it is there. */
static void a_failed_commit_fails_all_its_requests(void **state)
{
    struct fixture *f = *state;
    sql_store *store = f->store.self;
    set_max_pages(f, 20);
    int stored = run_writers(f, a_retention_step);
    assert_true(stored < WRITERS * REQUESTS);
    assert_int_equal(atomic_load(&store->stats.commit_requests), stored);
    assert_true(atomic_load(&store->stats.failed_commits) > 0);
    set_max_pages(f, 1000000);
    assert_int_equal(run_writers(f, a_retention_step), WRITERS * REQUESTS);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/pra-test-XXXXXX",
             tmp && strlen(tmp) < sizeof folder - 20 ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/store.db", folder);
    const struct CMUnitTest tests[] = {
        STORE_BEHAVIOUR,
        STORE_TEST(data_outlives_the_store),
        STORE_TEST(opens_once_at_a_time),
        STORE_TEST(refuses_files_that_are_not_its_own),
        cmocka_unit_test(paths),
        STORE_TEST(a_file_is_locked_under_every_name),
        STORE_TEST(a_relative_path_is_of_the_directory_it_was_opened_in),
        STORE_TEST(others_can_read_it_meanwhile),
        STORE_TEST(people_find_histograms_exemplars_and_metadata),
        STORE_TEST(a_file_of_the_first_version_is_taken_over),
        STORE_TEST(statements_use_the_indexes),
        STORE_TEST(a_narrow_query_does_not_look_at_all_series),
        STORE_TEST(a_full_disk_is_answered_with_retry),
        STORE_TEST(failures_are_logged_once),
        STORE_TEST(an_io_error_is_answered_with_retry),
        STORE_TEST(labels_too_large_for_sqlite_are_refused_alone),
        STORE_TEST(sqlite_out_of_memory_harms_nothing),
        STORE_TEST(a_damaged_value_is_reported),
        STORE_TEST(a_damaged_histogram_is_reported),
        STORE_TEST(retention_in_tiny_steps),
        STORE_TEST(retention_takes_all_kinds),
        STORE_TEST(numbers_of_series_are_not_used_again),
        STORE_TEST(retention_that_fails_changes_nothing),
        STORE_TEST(a_long_answer_takes_no_more_memory_than_a_short_one),
        STORE_TEST(a_slow_reader_holds_nothing_up),
        STORE_TEST(series_that_go_during_an_answer_are_left_out),
        cmocka_unit_test(a_small_cache_forgets_and_finds_again),
        cmocka_unit_test(label_text_is_parsed_strictly),
        STORE_TEST(writers_share_commits),
        STORE_TEST(a_failed_commit_fails_all_its_requests),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_store();
    rmdir(folder);
    return failed;
}
