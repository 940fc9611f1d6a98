/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite store: what every store must do, its file, its statements, failures. */
#include "store_behaviour.h"

#include <signal.h>
#include <sys/resource.h>

#include "sqlite_fixture.h"

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
    execute("PRAGMA user_version = -1");
    assert_int_equal(open_store(NULL, NULL, &f->store, &err), PRA_ERR_NOT_SUPPORTED);
    execute("PRAGMA user_version = 0");
    assert_int_equal(open_store(NULL, NULL, &f->store, &err), PRA_ERR_CORRUPT);
    assert_null(strstr(err.message, "not an error"));
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

/* Also where the histograms beside the samples can be read. */
static void a_damaged_page_is_reported(void **state)
{
    struct fixture *f = *state;
    const char *const matchers[] = {"a=1", NULL};
    char zeros[4096] = {0};
    write_one(f, "a=1", 1, 1);
    add_series(f, "a=1");
    add_histogram(f, 2, 1);
    write_ok(f);
    close_store(f);
    long page = (long)ask("SELECT rootpage FROM sqlite_schema WHERE name = 'samples'");
    assert_int_equal(ask("PRAGMA page_size"), sizeof zeros);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, (page - 1) * (long)sizeof zeros, SEEK_SET), 0);
    assert_int_equal(fwrite(zeros, sizeof zeros, 1, file), 1);
    fclose(file);
    assert_int_equal(open_store(NULL, &keep_all, &f->store, &f->err), PRA_OK);
    assert_int_equal(query_range(f, 0, 10, matchers), PRA_ERR_CALLBACK);
    assert_non_null(strstr(f->err.message, "the store's file is damaged: "));
}

int main(void)
{
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
        STORE_TEST(a_damaged_page_is_reported),
    };
    if (!make_folder())
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_folder();
    return failed;
}
