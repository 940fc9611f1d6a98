/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite store's data. Private. SQLite's own memory comes from its own allocator, which is one
 * for the whole process; everything else here is from pra_alloc.
 *
 * Threads and connections
 * - One connection writes, and it alone checkpoints. Whoever holds it (writer_taken) is the leader:
 *   it commits the requests of all that wait. The retention takes it in the same way.
 * - Queries use connections of their own that only read, one each at a time.
 * - The WAL-reset race of SQLite 3.7.0 to 3.51.2, which loses commits when one connection
 *   checkpoints while another one writes, therefore cannot happen; a lock file (PATH-lock) keeps
 *   other processes from opening a second store on the file. Reading it with the sqlite3 program
 *   while the store is open is fine.
 */
#ifndef PRA_SQLITE_STORE_H
#define PRA_SQLITE_STORE_H

#include <sqlite3.h>
#include <stdatomic.h>

#include "store_common.h"

/* ---- statements */

enum {
    SQL_BEGIN_READ,
    SQL_BEGIN_WRITE,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_TENANT_FIND, /* name -> id */
    SQL_TENANT_ADD,
    SQL_SERIES_FIND, /* tenant, fingerprint, labels -> id */
    SQL_SERIES_ADD,
    SQL_LABEL_ADD,
    SQL_SAMPLE_ADD,
    SQL_SAMPLE_GET,
    SQL_NEXT_SERIES,    /* id -> the series after it */
    SQL_OLD_SAMPLE,     /* series, cutoff, n -> time of the n-th sample before the cutoff */
    SQL_SAMPLES_DELETE, /* series, cutoff */
    SQL_ANY_SAMPLE,
    SQL_SERIES_DELETE,
    SQL_LABEL_DELETE,
    SQL_VALUE_COUNT,   /* tenant, name, value, limit -> number of series */
    SQL_RANGE_COUNT,   /* tenant, name, least, below, limit -> number of series */
    SQL_VALUE_SERIES,  /* tenant, name, value -> series ids */
    SQL_FIRST_VALUE,   /* tenant, name, least -> first value from there */
    SQL_NEXT_VALUE,    /* tenant, name, value -> the value after it */
    SQL_SERIES_LABELS, /* series -> labels */
    SQL_TENANT_SERIES, /* tenant -> series ids */
    SQL_SAMPLES,       /* series, start, end -> time, value */
    SQL_STATEMENTS
};

extern const char *const pra__sql_text[SQL_STATEMENTS];

/* ---- labels as text: a JSON object, {"__name__":"up","job":"x"}, names and values escaped only
 * where JSON requires it, so that equal labels are equal text */

typedef struct sql_labels {
    pra_label *labels;
    size_t count;
    size_t cap;
    char *bytes;
    size_t bytes_cap;
} sql_labels;

int pra__sql_labels_format(const char *base, const pra_label_span *labels, size_t count,
                           pra_buffer *out);
/** Returns 0, PRA_ERR_NOMEM, PRA_ERR_CORRUPT. */
int pra__sql_labels_parse(const pra_alloc *alloc, pra_str text, sql_labels *out);
void pra__sql_labels_fini(const pra_alloc *alloc, sql_labels *labels);

/* ---- connections */

typedef struct sql_conn {
    sqlite3 *db;
    const pra_alloc *alloc;
    sqlite3_stmt *statements[SQL_STATEMENTS]; /* prepared at first use */
    sql_labels labels;
    char *value; /* of the value at hand in a scan over values */
    size_t value_cap;
    struct sql_conn *next; /* in the pool */
} sql_conn;

/** Opens a file as it is; flags as for sqlite3_open_v2. */
int pra__sql_open(sql_conn *conn, const pra_alloc *alloc, const char *path, int flags,
                  pra_error *err);
void pra__sql_close(sql_conn *conn);
/** The statement, reset; NULL if it cannot be prepared. */
sqlite3_stmt *pra__sql_stmt(sql_conn *conn, int which);
/** Runs a statement without parameters. Returns an SQLite result code. */
int pra__sql_run(sql_conn *conn, int which);
/** Begins a transaction, first ending one that could not be ended (out of memory). Returns an
 * SQLite result code. */
int pra__sql_begin(sql_conn *conn, int which);
/** Resets all statements and takes back the transaction, if there is one. */
int pra__sql_rollback(sql_conn *conn);
/** Runs a statement once and resets it. Returns SQLITE_ROW with its first column in *out (may be
 * NULL), SQLITE_DONE, or an error. */
int pra__sql_once(sqlite3_stmt *stmt, int64_t *out);
/** Turns an SQLite result code into PRA_ERR_NOMEM, PRA_ERR_IO (passing) or PRA_ERR_CORRUPT, with a
 * message that may go to the sender: without the path. */
int pra__sql_error(const sql_conn *conn, int rc, pra_error *err);

/* Both bind what must live until the statement is reset. */
void pra__sql_bind_str(sqlite3_stmt *stmt, int index, pra_str s);
/** NaN and -0.0, which SQLite would lose, as a BLOB of the 8 bytes, most significant first. */
void pra__sql_bind_value(sqlite3_stmt *stmt, int index, const double *value);
/** Returns 0 or PRA_ERR_CORRUPT. */
int pra__sql_column_bits(sqlite3_stmt *stmt, int column, uint64_t *bits);
pra_str pra__sql_column_str(sqlite3_stmt *stmt, int column);

/** Creates or checks the schema on the writer connection. */
int pra__sql_schema_prepare(sql_conn *conn, pra_error *err);

/* ---- series ids by labels, bounded: when a generation is full the older one is forgotten */

typedef struct sql_cache {
    const pra_alloc *alloc;
    struct {
        pra__table table;
        pra_arena *arena;
    } generation[2];
    int current;
} sql_cache;

int pra__sql_cache_init(sql_cache *cache, const pra_alloc *alloc, size_t max_bytes);
void pra__sql_cache_fini(sql_cache *cache);
/** The id, or 0. */
int64_t pra__sql_cache_find(sql_cache *cache, int64_t tenant, uint64_t fingerprint, pra_str labels);
void pra__sql_cache_put(sql_cache *cache, int64_t tenant, uint64_t fingerprint, pra_str labels,
                        int64_t id);
void pra__sql_cache_remove(sql_cache *cache, int64_t tenant, uint64_t fingerprint, pra_str labels);
void pra__sql_cache_clear(sql_cache *cache);

/* ---- the store */

typedef struct sql_job sql_job;

typedef struct sql_stats {
    atomic_uint_least64_t commits;
    atomic_uint_least64_t commit_requests;
    atomic_uint_least64_t failed_commits;
    atomic_uint_least64_t inserted;
    atomic_uint_least64_t duplicates;
    atomic_uint_least64_t refused;
    atomic_uint_least64_t expired;
    atomic_uint_least64_t ignored_exemplars;
    atomic_uint_least64_t ignored_metadata;
    atomic_uint_least64_t write_ns;  /* transactions of writes, commit included */
    atomic_uint_least64_t commit_ns; /* their commits alone */
    atomic_uint_least64_t read_ns;
    atomic_int_least64_t series;
} sql_stats;

typedef struct sql_store {
    pra_alloc alloc;
    pra_store_opts opts;
    char *path;
    size_t path_size;
    int lock_fd;

    pthread_mutex_t lock; /* guards the queue and writer_taken */
    pthread_cond_t wake;
    sql_job *queue;
    sql_job **queue_end;
    bool writer_taken;
    unsigned retention_waits;

    /* the leader's own */
    sql_conn writer;
    sql_cache cache;
    pra_buffer *text;
    bool failing; /* the last commit failed: log only the first and the recovery */

    pthread_mutex_t pool_lock;
    pthread_cond_t pool_wake;
    sql_conn *pool;
    unsigned readers;

    pra__ticker retention;
    int64_t sweep_id; /* the retention has seen series up to here */
    sql_stats stats;
} sql_store;

/* sqlite_write.c */

/** What a trait entry returns for a code: what passes is PRA_ERR_RETRY. */
int pra__sql_grade(int code, pra_error *err);
/* The writer connection, its cache and text are the caller's between these two. */
void pra__sql_writer_take(sql_store *store);
void pra__sql_writer_release(sql_store *store);

int pra__sql_write(void *self, const pra_context *ctx, const pra_write_request *request,
                   pra_write_result *result, pra_error *err);
/** Ends a transaction that failed: nothing of it stays, in the file or in memory. */
void pra__sql_writer_rollback(sql_store *store);

/* sqlite_read.c */

int pra__sql_process_query(void *self, const pra_context *ctx, const pra_query *query,
                           pra_series_sink *sink, pra_error *err);
void pra__sql_pool_close(sql_store *store);

/* sqlite_retention.c */

/** Deletes at most max_rows samples older than cutoff_ms, going on where the last step ended.
 * Returns 1 when the sweep is through (the next call begins anew), 0, or an error. */
int pra__sql_retention_step(sql_store *store, int64_t cutoff_ms, int64_t max_rows);
uint64_t pra__sql_retention_tick(void *self);

#endif
