/* SPDX-License-Identifier: Apache-2.0 */
/* An SQLite store under test, in a folder of its own. */
#ifndef TESTS_SQLITE_FIXTURE_H
#define TESTS_SQLITE_FIXTURE_H

#include <sys/stat.h>
#include <unistd.h>

#include "store_fixture.h"
#include "stores/sqlite_store.h"

#undef STORE_TEST
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

#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, setup_clean, teardown)

static inline void close_store(struct fixture *f)
{
    f->store.vtbl->destroy(f->store.self);
    f->store.vtbl = NULL;
}

static inline void reopen(struct fixture *f)
{
    close_store(f);
    assert_int_equal(open_store(NULL, &keep_all, &f->store, &f->err), PRA_OK);
}

/* First column of the first row as a number, on a connection of our own. */
static inline int64_t ask(const char *sql)
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

static inline void execute(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* The disk is full then. */
static inline void set_max_pages(struct fixture *f, int64_t pages)
{
    sql_store *store = f->store.self;
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld", (long long)pages);
    assert_int_equal(sqlite3_exec(store->writer.db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static int make_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/pra-test-XXXXXX",
             tmp && strlen(tmp) < sizeof folder - 20 ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return 0;
    snprintf(path, sizeof path, "%s/store.db", folder);
    return 1;
}

static void remove_folder(void)
{
    remove_store();
    rmdir(folder);
}

#endif
