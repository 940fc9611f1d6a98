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
    SQL_SERIES_FIND, /* tenant, fingerprint, labels -> id, whether it has histograms */
    SQL_SERIES_ADD,  /* the same, id */
    SQL_LABEL_ADD,
    SQL_SAMPLE_ADD,
    SQL_SAMPLE_ADD_MIXED, /* the same where a histogram may be in its place */
    SQL_SAMPLE_GET,
    SQL_HISTOGRAM_ADD,
    SQL_HISTOGRAM_GET,
    SQL_EXEMPLAR_ADD,
    SQL_METADATA_FIND, /* tenant, family, type, help, unit -> whether it says the same */
    SQL_METADATA_PUT,
    SQL_NEXT_SERIES,    /* id -> the series after it */
    SQL_NEXT_EXEMPLARS, /* id -> the series after it that has exemplars */
    SQL_OLD_SAMPLE,     /* series, cutoff, n -> time of number n (from 0) before the cutoff */
    SQL_OLD_HISTOGRAM,
    SQL_OLD_EXEMPLAR,
    SQL_SAMPLES_DELETE, /* series, cutoff */
    SQL_HISTOGRAMS_DELETE,
    SQL_EXEMPLARS_DELETE,
    SQL_EXEMPLARS_DELETE_SOME, /* series, cutoff, n: the first n of them */
    SQL_ANY_DATA,
    SQL_SERIES_DELETE,
    SQL_LABEL_DELETE,
    SQL_VALUE_COUNT,   /* tenant, name, value, limit -> number of series */
    SQL_RANGE_COUNT,   /* tenant, name, least, below, limit -> number of series */
    SQL_VALUE_SERIES,  /* tenant, name, value -> series ids */
    SQL_FIRST_VALUE,   /* tenant, name, least -> first value from there */
    SQL_NEXT_VALUE,    /* tenant, name, value -> the value after it */
    SQL_SERIES_LABELS, /* series -> labels */
    SQL_TENANT_SERIES, /* tenant -> series ids */
    SQL_ANY_BETWEEN,   /* series, start, end -> whether there is data */
    SQL_SAMPLES,       /* series, start, end -> time, value */
    SQL_HISTOGRAMS,    /* series, start, end -> time, data */
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

enum { MAX_TEXT_BYTES = 64 * 1024 * 1024 }; /* of one text or blob; SQLite's own limit is 1e9 */

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
    pra_write_request *histograms; /* on their way to a sink */
    struct sql_conn *next;         /* in the pool */
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
/** What the last call said if it failed, else what rc means. */
const char *pra__sql_message(const sql_conn *conn, int rc);
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
pra_str pra__sql_column_blob(sqlite3_stmt *stmt, int column);

/** Creates or checks the schema on the writer connection. */
int pra__sql_schema_prepare(sql_conn *conn, pra_error *err);

/* ---- series by labels, bounded: when a generation is full the older one is forgotten */

typedef struct sql_series {
    int64_t id;
    bool histograms; /* it has some, or had: only then a sample can meet one */
} sql_series;

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
bool pra__sql_cache_find(sql_cache *cache, int64_t tenant, uint64_t fingerprint, pra_str labels,
                         sql_series *out);
void pra__sql_cache_put(sql_cache *cache, int64_t tenant, uint64_t fingerprint, pra_str labels,
                        sql_series series);
/** Notes that a series has histograms, if it is there. */
void pra__sql_cache_mark(sql_cache *cache, int64_t tenant, uint64_t fingerprint, pra_str labels);
void pra__sql_cache_remove(sql_cache *cache, int64_t tenant, uint64_t fingerprint, pra_str labels);
void pra__sql_cache_clear(sql_cache *cache);

/* ---- the store */

/* The data of one kind refused in one series, to be reported when the commit is done. */
typedef struct sql_refusal {
    size_t series;
    int32_t kind;
    size_t too_large; /* so many of them; else */
    pra__conflicts conflicts;
} sql_refusal;

/* A request in the queue. */
typedef struct sql_job {
    pra_columns cols;
    pra_str tenant;
    sql_refusal *refusals;
    size_t refusal_count;
    size_t refusal_cap;
    pra_error error;
    int code;
    bool done;
    struct sql_job *next;
} sql_job;

enum { SQL_KINDS = 3 }; /* PRA_DATUM_SAMPLE, _HISTOGRAM, _EXEMPLAR */

/* What a transaction did, added to the statistics once it is committed. */
typedef struct sql_counts {
    uint64_t requests;
    uint64_t inserted[SQL_KINDS];
    uint64_t duplicates[SQL_KINDS];
    uint64_t refused[SQL_KINDS];
    uint64_t metadata; /* families that were new */
    int64_t series;
} sql_counts;

typedef struct sql_stats {
    atomic_uint_least64_t commits;
    atomic_uint_least64_t commit_requests;
    atomic_uint_least64_t failed_commits;
    atomic_uint_least64_t inserted[SQL_KINDS];
    atomic_uint_least64_t duplicates[SQL_KINDS];
    atomic_uint_least64_t refused[SQL_KINDS];
    atomic_uint_least64_t expired[SQL_KINDS];
    atomic_uint_least64_t write_ns;  /* transactions of writes, commit included */
    atomic_uint_least64_t commit_ns; /* their commits alone */
    atomic_uint_least64_t read_ns;
    atomic_int_least64_t series;
    atomic_int_least64_t exemplars;
    atomic_int_least64_t metadata;
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
    pra_buffer *text;    /* the labels of the series at hand */
    pra_buffer *data;    /* an exemplar's labels, a histogram */
    int64_t last_series; /* highest id given out: none may mean another series to a running query */
    bool failing;        /* the last commit failed: log only the first and the recovery */

    pthread_mutex_t pool_lock;
    pthread_cond_t pool_wake;
    sql_conn *pool;
    unsigned readers;

    atomic_bool histograms; /* there are some, or were: else no query need look for them */

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

/* sqlite_insert.c */

/** Writes a request within the transaction at hand. */
int pra__sql_insert(sql_store *store, sql_job *job, sql_counts *counts, pra_error *err);

/* sqlite_read.c */

int pra__sql_select(void *self, const pra_context *ctx, const pra_query *query,
                    pra_series_list *list, pra_error *err);
int pra__sql_fetch(void *self, const pra_context *ctx, const pra_query *query, uint64_t id,
                   int64_t from_ms, pra_series_sink *sink, pra_error *err);
void pra__sql_pool_close(sql_store *store);

/* sqlite_retention.c */

/** Deletes at most max_rows rows that are too old, going on where the last step ended. Returns 1
 * when the sweep is through (the next call begins anew), 0, or an error. */
int pra__sql_retention_step(sql_store *store, pra__cutoffs cutoffs, int64_t max_rows);
uint64_t pra__sql_retention_tick(void *self);

#endif
