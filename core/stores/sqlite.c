/* SPDX-License-Identifier: Apache-2.0 */
/* The storage "sqlite:PATH": opening, metrics, closing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sqlite_store.h"

enum { CACHE_BYTES = 64 * 1024 * 1024 };

/* ---- metrics */

static double file_bytes(const char *path, const char *suffix)
{
    char name[4096];
    struct stat st;
    int len = snprintf(name, sizeof name, "%s%s", path, suffix);
    if (len < 0 || (size_t)len >= sizeof name || stat(name, &st) != 0)
        return 0;
    return (double)st.st_size;
}

static double count_of(atomic_uint_least64_t *value)
{
    return (double)atomic_load(value);
}

static double seconds_of(atomic_uint_least64_t *ns)
{
    return (double)atomic_load(ns) / 1e9;
}

typedef struct metric {
    const char *name, *type, *help;
    double value;
} metric;

/* name may have the kind's name in it. */
static int put_metrics(const metric *rows, size_t count, const char *kind, pra_buffer *out)
{
    int code = PRA_OK;
    for (size_t i = 0; code == PRA_OK && i < count; i++) {
        char ending[64], name[96];
        snprintf(ending, sizeof ending, rows[i].name, kind);
        snprintf(name, sizeof name, "pra_store_sqlite_%s", ending);
        code = pra__store_metric(out, name, rows[i].type, rows[i].help, rows[i].value);
    }
    return code;
}

static int kind_metrics(sql_stats *s, int32_t kind, pra_buffer *out)
{
    static const char *const names[SQL_KINDS] = {"samples", "histograms", "exemplars"};
    const metric rows[] = {
        {"inserted_%s_total", "counter", "Stored.", count_of(&s->inserted[kind])},
        {"duplicate_%s_total", "counter", "Received again with the same value.",
         count_of(&s->duplicates[kind])},
        {"refused_%s_total", "counter", "Refused because another value is stored for their time.",
         count_of(&s->refused[kind])},
        {"expired_%s_total", "counter", "Deleted by the retention.", count_of(&s->expired[kind])},
    };
    return put_metrics(rows, sizeof rows / sizeof *rows, names[kind], out);
}

static int sqlite_metrics(void *self, pra_buffer *out)
{
    sql_store *store = self;
    sql_stats *s = &store->stats;
    const metric rows[] = {
        {"commits_total", "counter", "Transactions committed for writes.", count_of(&s->commits)},
        {"commit_requests_total", "counter", "Write requests in these transactions.",
         count_of(&s->commit_requests)},
        {"failed_commits_total", "counter", "Transactions that failed; senders were told to retry.",
         count_of(&s->failed_commits)},
        {"write_seconds_total", "counter", "Time in write transactions, commits included.",
         seconds_of(&s->write_ns)},
        {"commit_seconds_total", "counter", "Time in commits of write transactions.",
         seconds_of(&s->commit_ns)},
        {"read_seconds_total", "counter", "Time in queries.", seconds_of(&s->read_ns)},
        {"series", "gauge", "Series stored.", (double)atomic_load(&s->series)},
        {"exemplars", "gauge", "Exemplars stored.", (double)atomic_load(&s->exemplars)},
        {"metadata", "gauge", "Metric families whose metadata is stored.",
         (double)atomic_load(&s->metadata)},
        {"file_bytes", "gauge", "Size of the database file.", file_bytes(store->path, "")},
        {"wal_bytes", "gauge", "Size of the write-ahead log.", file_bytes(store->path, "-wal")},
    };
    int code = put_metrics(rows, sizeof rows / sizeof *rows, "", out);
    for (int32_t kind = 0; code == PRA_OK && kind < SQL_KINDS; kind++)
        code = kind_metrics(s, kind, out);
    return code;
}

/* ---- closing */

/* Works on a store that was opened half-way. The writer closes last: closing checkpoints. */
static void sqlite_destroy(void *self)
{
    sql_store *store = self;
    pra__ticker_stop(&store->retention);
    pra__sql_pool_close(store);
    pra__sql_close(&store->writer);
    pra__sql_cache_fini(&store->cache);
    pra_buffer_free(store->text);
    pra_buffer_free(store->data);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    pthread_cond_destroy(&store->pool_wake);
    pthread_mutex_destroy(&store->pool_lock);
    pthread_cond_destroy(&store->wake);
    pthread_mutex_destroy(&store->lock);
    pra_alloc alloc = store->alloc;
    pra__free(&alloc, store->path, store->path_size);
    pra__free(&alloc, store, sizeof *store);
}

static const pra_storage_vtbl sqlite_vtbl = {
    .size = sizeof sqlite_vtbl,
    .flags = PRA_STORAGE_PARALLEL_QUERIES | PRA_STORAGE_HISTOGRAMS | PRA_STORAGE_EXEMPLARS,
    .write = pra__sql_write,
    .select = pra__sql_select,
    .fetch = pra__sql_fetch,
    .metrics = sqlite_metrics,
    .destroy = sqlite_destroy,
};

/* ---- opening */

/* The absolute name of a file that may not be there yet, without symbolic links. path as it is
 * where its directory cannot be found: opening it will say why. */
static void resolve(const char *path, char out[PATH_MAX])
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (realpath(path, out))
        return;
    snprintf(folder, sizeof folder, "%.*s", (int)(name - path), path);
    if (!realpath(folder[0] ? folder : ".", out) || strlen(out) + strlen(name) + 2 > PATH_MAX)
        snprintf(out, PATH_MAX, "%s", path);
    else
        snprintf(out + strlen(out), PATH_MAX - strlen(out), "/%s", name);
}

/* One name for a file, so that two stores on it meet at one lock, and readers find it from whatever
 * working directory. */
static int copy_path(sql_store *store, const char *path, pra_error *err)
{
    char resolved[PATH_MAX];
    if (strlen(path) >= sizeof resolved)
        return pra__store_fail(err, PRA_ERR_INVALID_ARG, "the path is too long");
    resolve(path, resolved);
    store->path_size = strlen(resolved) + 1;
    store->path = pra__malloc(&store->alloc, store->path_size);
    if (!store->path)
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    memcpy(store->path, resolved, store->path_size);
    return PRA_OK;
}

/* An advisory lock on PATH-lock for as long as the store is open; it ends with the process. */
static int lock_file(sql_store *store, pra_error *err)
{
    char name[4096];
    int len = snprintf(name, sizeof name, "%s-lock", store->path);
    if (len < 0 || (size_t)len >= sizeof name)
        return pra__store_fail(err, PRA_ERR_INVALID_ARG, "the path is too long");
    store->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (store->lock_fd < 0)
        return pra__store_fail(err, PRA_ERR_IO, "cannot create %.150s: %s", name, strerror(errno));
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return PRA_OK;
    if (errno != EWOULDBLOCK)
        return pra__store_fail(err, PRA_ERR_IO, "cannot lock %.150s: %s", name, strerror(errno));
    return pra__store_fail(err, PRA_ERR_IO,
                           "%.150s is in use: another store has it open (reading it with the "
                           "sqlite3 program is possible)",
                           store->path);
}

static int ask_number(sql_store *store, const char *sql, int64_t *out, pra_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(store->writer.db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = pra__sql_once(stmt, out);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? PRA_OK : pra__sql_error(&store->writer, rc, err);
}

static int take_stock(sql_store *store, pra_error *err)
{
    int64_t series = 0, exemplars = 0, metadata = 0, histograms = 0;
    int code = ask_number(store, "SELECT count(*) FROM series", &series, err);
    if (code == PRA_OK)
        code = ask_number(store, "SELECT max(id) FROM series", &store->last_series, err);
    if (code == PRA_OK)
        code = ask_number(store, "SELECT count(*) FROM exemplars", &exemplars, err);
    if (code == PRA_OK)
        code = ask_number(store, "SELECT count(*) FROM metadata", &metadata, err);
    if (code == PRA_OK)
        code = ask_number(store, "SELECT EXISTS(SELECT 1 FROM histograms)", &histograms, err);
    atomic_store(&store->histograms, histograms != 0);
    atomic_store(&store->stats.series, series);
    atomic_store(&store->stats.exemplars, exemplars);
    atomic_store(&store->stats.metadata, metadata);
    return code;
}

static int open_parts(sql_store *store, const char *path, pra_error *err)
{
    int code = copy_path(store, path, err);
    if (code == PRA_OK)
        code = lock_file(store, err);
    if (code == PRA_OK)
        code = pra__sql_open(&store->writer, &store->alloc, store->path,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (code == PRA_OK)
        code = pra__sql_schema_prepare(&store->writer, err);
    if (code == PRA_OK)
        code = take_stock(store, err);
    if (code != PRA_OK)
        return code;
    if (pra_buffer_new(&store->alloc, &store->text) != PRA_OK ||
        pra_buffer_new(&store->alloc, &store->data) != PRA_OK ||
        pra__sql_cache_init(&store->cache, &store->alloc, CACHE_BYTES) != PRA_OK ||
        (pra__store_expires(&store->opts) &&
         pra__ticker_start(&store->retention, pra__sql_retention_tick, store) != PRA_OK))
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    return PRA_OK;
}

static int check_arguments(const char *path, pra_error *err)
{
    if (!path || !*path || strcmp(path, ":memory:") == 0)
        return pra__store_fail(err, PRA_ERR_INVALID_ARG,
                               "the SQLite store needs the path of a file");
    if (!sqlite3_threadsafe())
        return pra__store_fail(err, PRA_ERR_NOT_SUPPORTED,
                               "SQLite %s is built without thread support", sqlite3_libversion());
    return PRA_OK;
}

int pra_store_sqlite_open(const pra_alloc *alloc, const char *path_cstr, const pra_store_opts *opts,
                          pra_storage *out, pra_error *err)
{
    if (!out)
        return PRA_ERR_INVALID_ARG;
    if (!alloc)
        alloc = pra_alloc_libc();
    pra_store_opts known;
    int code = check_arguments(path_cstr, err);
    if (code == PRA_OK)
        code = pra__store_opts(opts, &known, err);
    if (code != PRA_OK)
        return code;
    sql_store *store = pra__malloc(alloc, sizeof *store);
    if (!store)
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    memset(store, 0, sizeof *store);
    store->alloc = *alloc;
    store->opts = known;
    store->lock_fd = -1;
    store->queue_end = &store->queue;
    store->writer.alloc = &store->alloc;
    store->cache.alloc = &store->alloc;
    pthread_mutex_init(&store->lock, NULL); /* these cannot fail on Linux */
    pthread_cond_init(&store->wake, NULL);
    pthread_mutex_init(&store->pool_lock, NULL);
    pthread_cond_init(&store->pool_wake, NULL);
    code = open_parts(store, path_cstr, err);
    if (code != PRA_OK) {
        sqlite_destroy(store);
        return code;
    }
    pra__store_log(&known, 0, "%s: open with SQLite %s, one connection writes and checkpoints",
                   store->path, sqlite3_libversion());
    *out = (pra_storage){&sqlite_vtbl, store};
    return PRA_OK;
}
