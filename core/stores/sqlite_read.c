/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the SQLite store: first the series that a query selects, then the data of each, every
 * call in a read transaction of its own on a connection from a pool.
 *
 * The matcher that leads to the fewest series by the label index finds the candidates; all matchers
 * check each candidate's labels. */
#include <string.h>

#include "sqlite_store.h"

/* A list this long holds only series that have data in the time range: looking costs less than
 * memory for the rest. */
enum { MAX_READERS = 16, UNCHECKED_SERIES = 20000 };

typedef struct scan {
    sql_conn *conn;
    const pra_query *query;
    pra_series_list *list;
    pra_error *err;
    int64_t tenant;
    size_t listed;
} scan;

static int conn_error(scan *s)
{
    return pra__sql_error(s->conn, sqlite3_extended_errcode(s->conn->db), s->err);
}

static int nomem(pra_error *err)
{
    return pra_error_set_cstr(err, PRA_ERR_NOMEM, "the store is out of memory");
}

static int corrupt(pra_error *err)
{
    return pra_error_set_cstr(err, PRA_ERR_CORRUPT,
                              "the store's file holds a row that this program cannot have written");
}

/* ---- one series */

/* Returns 1 if a series has data in the range of the query, 0, or an error. */
static int has_data(scan *s, int64_t id)
{
    sqlite3_stmt *stmt = pra__sql_stmt(s->conn, SQL_ANY_BETWEEN);
    if (!stmt)
        return conn_error(s);
    sqlite3_bind_int64(stmt, 1, id);
    sqlite3_bind_int64(stmt, 2, pra_query_start_ms(s->query));
    sqlite3_bind_int64(stmt, 3, pra_query_end_ms(s->query));
    int rc = pra__sql_once(stmt, NULL);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : conn_error(s);
}

static int list_series(scan *s, int64_t id)
{
    sqlite3_stmt *stmt = pra__sql_stmt(s->conn, SQL_SERIES_LABELS);
    if (!stmt)
        return conn_error(s);
    sqlite3_bind_int64(stmt, 1, id);
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW)
        return rc == SQLITE_DONE ? corrupt(s->err) : conn_error(s);
    sql_labels *labels = &s->conn->labels;
    int code = pra__sql_labels_parse(s->conn->alloc, pra__sql_column_str(stmt, 0), labels);
    sqlite3_reset(stmt);
    if (code != PRA_OK)
        return code == PRA_ERR_NOMEM ? nomem(s->err) : corrupt(s->err);
    int matches = pra_query_matches(s->query, labels->labels, labels->count);
    if (matches == 1 && s->listed >= UNCHECKED_SERIES)
        matches = has_data(s, id);
    if (matches != 1)
        return matches; /* 0 is PRA_OK */
    s->listed++;
    return pra_series_list_add(s->list, labels->labels, labels->count, (uint64_t)id, s->err);
}

/* For each id that the bound statement gives. */
static int list_each(scan *s, sqlite3_stmt *ids)
{
    int rc, code = PRA_OK;
    while (code == PRA_OK && (rc = sqlite3_step(ids)) != SQLITE_DONE)
        code = rc == SQLITE_ROW ? list_series(s, sqlite3_column_int64(ids, 0)) : conn_error(s);
    sqlite3_reset(ids);
    return code;
}

/* ---- candidates */

/* A statement with tenant, name and value bound. */
static sqlite3_stmt *bound(scan *s, int which, const pra__lookup *lookup, pra_str value)
{
    sqlite3_stmt *stmt = pra__sql_stmt(s->conn, which);
    if (!stmt)
        return NULL;
    sqlite3_bind_int64(stmt, 1, s->tenant);
    pra__sql_bind_str(stmt, 2, lookup->name);
    pra__sql_bind_str(stmt, 3, value);
    return stmt;
}

static int list_value(scan *s, const pra__lookup *lookup, pra_str value)
{
    sqlite3_stmt *stmt = bound(s, SQL_VALUE_SERIES, lookup, value);
    return stmt ? list_each(s, stmt) : conn_error(s);
}

/* Moves to the first value (after NULL) or the next one of a range. Returns PRA_OK with a value,
 * PRA_DONE at the end, or an error. The value is in memory of the connection. */
static int next_value(scan *s, const pra__lookup *lookup, const pra_str *after, pra_str *out)
{
    int which = after ? SQL_NEXT_VALUE : SQL_FIRST_VALUE;
    sqlite3_stmt *stmt = bound(s, which, lookup, after ? *after : lookup->prefix);
    if (!stmt)
        return conn_error(s);
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW)
        return rc == SQLITE_DONE ? PRA_DONE : conn_error(s);
    pra_str value = pra__sql_column_str(stmt, 0);
    sql_conn *conn = s->conn;
    int code =
        pra__store_grow(conn->alloc, (void **)&conn->value, &conn->value_cap, value.len + 1, 1);
    if (code == PRA_OK && value.len)
        memcpy(conn->value, value.ptr, value.len);
    sqlite3_reset(stmt);
    if (code != PRA_OK)
        return nomem(s->err);
    *out = (pra_str){conn->value, value.len};
    return pra__str_starts_with(*out, lookup->prefix) ? PRA_OK : PRA_DONE;
}

static int list_range(scan *s, const pra__lookup *lookup)
{
    pra_str value;
    int code = next_value(s, lookup, NULL, &value);
    while (code == PRA_OK) {
        if (pra_matcher_matches(lookup->matcher, value) != 0) /* list_series meets errors again */
            code = list_value(s, lookup, value);
        if (code == PRA_OK)
            code = next_value(s, lookup, &value, &value);
    }
    return code == PRA_DONE ? PRA_OK : code;
}

static int list_lookup(scan *s, const pra__lookup *lookup)
{
    if (lookup->kind == PRA__LOOKUP_RANGE)
        return list_range(s, lookup);
    int code = PRA_OK;
    for (size_t i = 0; code == PRA_OK && i < lookup->value_count; i++)
        code = list_value(s, lookup, lookup->values[i]);
    return code;
}

static int list_all(scan *s)
{
    sqlite3_stmt *stmt = pra__sql_stmt(s->conn, SQL_TENANT_SERIES);
    if (!stmt)
        return conn_error(s);
    sqlite3_bind_int64(stmt, 1, s->tenant);
    return list_each(s, stmt);
}

/* ---- the narrowest matcher */

static int counted(scan *s, sqlite3_stmt *stmt, int64_t *sum)
{
    int64_t count = 0;
    if (pra__sql_once(stmt, &count) != SQLITE_ROW)
        return conn_error(s);
    *sum += count;
    return PRA_OK;
}

/* All values from the prefix on and below its successor; a BLOB sorts after every text, so it
 * stands for "no upper bound". */
static int count_range(scan *s, const pra__lookup *lookup, int64_t limit, int64_t *sum)
{
    sqlite3_stmt *stmt = bound(s, SQL_RANGE_COUNT, lookup, lookup->prefix);
    if (!stmt)
        return conn_error(s);
    size_t len = lookup->prefix.len;
    while (len && (unsigned char)lookup->prefix.ptr[len - 1] == 0xff)
        len--;
    sql_conn *conn = s->conn;
    if (pra__store_grow(conn->alloc, (void **)&conn->value, &conn->value_cap, len + 1, 1) != 0)
        return nomem(s->err);
    if (len) {
        memcpy(conn->value, lookup->prefix.ptr, len);
        conn->value[len - 1]++;
        pra__sql_bind_str(stmt, 4, (pra_str){conn->value, len});
    } else {
        sqlite3_bind_zeroblob(stmt, 4, 0);
    }
    sqlite3_bind_int64(stmt, 5, limit);
    return counted(s, stmt, sum);
}

/* The number of series a lookup leads to, counted no further than about limit. */
static int count_lookup(scan *s, const pra__lookup *lookup, int64_t limit, int64_t *sum)
{
    *sum = 0;
    if (lookup->kind == PRA__LOOKUP_RANGE)
        return count_range(s, lookup, limit, sum);
    int code = PRA_OK;
    for (size_t i = 0; code == PRA_OK && i < lookup->value_count && *sum < limit; i++) {
        sqlite3_stmt *stmt = bound(s, SQL_VALUE_COUNT, lookup, lookup->values[i]);
        if (!stmt)
            return conn_error(s);
        sqlite3_bind_int64(stmt, 4, limit);
        code = counted(s, stmt, sum);
    }
    return code;
}

/* Counts up to a limit that grows, so that the work is bounded by the narrowest matcher's.
 * *best stays NULL if every matcher accepts series without its label. */
static int narrowest(scan *s, const pra_matcher **best)
{
    const int64_t first_limit = 64, last_limit = INT64_C(1) << 40;
    size_t n = pra_query_matcher_count(s->query), usable = 0;
    pra__lookup lookup;
    for (size_t i = 0; i < n; i++) {
        pra__lookup_init(&lookup, pra_query_matcher(s->query, i));
        if (lookup.kind != PRA__LOOKUP_FILTER && usable++ == 0)
            *best = lookup.matcher;
    }
    if (usable < 2)
        return PRA_OK;
    for (int64_t limit = first_limit;; limit *= 16) {
        int64_t least = limit;
        for (size_t i = 0; i < n; i++) {
            pra__lookup_init(&lookup, pra_query_matcher(s->query, i));
            int64_t sum = limit;
            if (lookup.kind != PRA__LOOKUP_FILTER) {
                int code = count_lookup(s, &lookup, limit, &sum);
                if (code != PRA_OK)
                    return code;
            }
            if (sum < least) {
                least = sum;
                *best = lookup.matcher;
            }
        }
        if (least < limit || limit >= last_limit)
            return PRA_OK;
    }
}

static int run_select(scan *s, pra_str tenant)
{
    sqlite3_stmt *stmt = pra__sql_stmt(s->conn, SQL_TENANT_FIND);
    if (!stmt)
        return conn_error(s);
    pra__sql_bind_str(stmt, 1, tenant);
    int rc = pra__sql_once(stmt, &s->tenant);
    if (rc != SQLITE_ROW)
        return rc == SQLITE_DONE ? PRA_OK : conn_error(s);
    const pra_matcher *best = NULL;
    int code = narrowest(s, &best);
    if (code != PRA_OK)
        return code;
    if (!best)
        return list_all(s);
    pra__lookup lookup;
    pra__lookup_init(&lookup, best);
    return list_lookup(s, &lookup);
}

/* ---- the pool */

static int pool_take(sql_store *store, sql_conn **out, pra_error *err)
{
    pthread_mutex_lock(&store->pool_lock);
    while (!store->pool && store->readers == MAX_READERS)
        pthread_cond_wait(&store->pool_wake, &store->pool_lock);
    sql_conn *conn = store->pool;
    if (conn)
        store->pool = conn->next;
    else
        store->readers++;
    pthread_mutex_unlock(&store->pool_lock);
    *out = conn;
    if (conn)
        return PRA_OK;
    int code = PRA_ERR_NOMEM;
    conn = pra__malloc(&store->alloc, sizeof *conn);
    if (conn)
        code = pra__sql_open(conn, &store->alloc, store->path, SQLITE_OPEN_READONLY, err);
    else
        pra_error_set_cstr(err, code, "the store is out of memory");
    if (code == PRA_OK) {
        /* A reader never checkpoints: see sqlite_store.h. */
        sqlite3_wal_autocheckpoint(conn->db, 0);
        *out = conn;
        return PRA_OK;
    }
    pra__free(&store->alloc, conn, sizeof *conn);
    pthread_mutex_lock(&store->pool_lock);
    store->readers--;
    pthread_cond_signal(&store->pool_wake);
    pthread_mutex_unlock(&store->pool_lock);
    return code;
}

static void pool_give(sql_store *store, sql_conn *conn)
{
    pthread_mutex_lock(&store->pool_lock);
    conn->next = store->pool;
    store->pool = conn;
    pthread_cond_signal(&store->pool_wake);
    pthread_mutex_unlock(&store->pool_lock);
}

void pra__sql_pool_close(sql_store *store)
{
    for (sql_conn *conn = store->pool, *next; conn; conn = next) {
        next = conn->next;
        pra__sql_close(conn);
        pra__free(&store->alloc, conn, sizeof *conn);
    }
    store->pool = NULL;
}

/* ---- the trait's entries */

int pra__sql_select(void *self, const pra_context *ctx, const pra_query *query,
                    pra_series_list *list, pra_error *err)
{
    sql_store *store = self;
    sql_conn *conn = NULL;
    int code = pool_take(store, &conn, err);
    if (code != PRA_OK)
        return pra__sql_grade(code, err);
    uint64_t begun = pra__store_ticks();
    scan s = {.conn = conn, .query = query, .list = list, .err = err};
    code = pra__sql_begin(conn, SQL_BEGIN_READ) == SQLITE_OK
               ? run_select(&s, pra__store_tenant(ctx))
               : conn_error(&s);
    pra__sql_rollback(conn); /* it only read */
    atomic_fetch_add(&store->stats.read_ns, pra__store_ticks() - begun);
    pool_give(store, conn);
    return pra__sql_grade(code, err);
}

/* The rows of a series from one of its two tables. */
typedef struct cursor {
    sqlite3_stmt *stmt;
    int rc;
    int64_t timestamp_ms; /* of the row at hand */
} cursor;

static void advance(cursor *c)
{
    c->rc = sqlite3_step(c->stmt);
    if (c->rc == SQLITE_ROW)
        c->timestamp_ms = sqlite3_column_int64(c->stmt, 0);
}

static cursor cursor_at(sql_conn *conn, int which, uint64_t id, int64_t start_ms, int64_t end_ms)
{
    cursor c = {.stmt = pra__sql_stmt(conn, which)};
    if (!c.stmt) {
        c.rc = sqlite3_extended_errcode(conn->db);
        return c;
    }
    sqlite3_bind_int64(c.stmt, 1, (int64_t)id);
    sqlite3_bind_int64(c.stmt, 2, start_ms);
    sqlite3_bind_int64(c.stmt, 3, end_ms);
    advance(&c);
    return c;
}

static int feed_row(pra__feed *feed, const cursor *c, bool histogram)
{
    uint64_t bits;
    if (histogram)
        return pra__feed_histogram(feed, pra__sql_column_blob(c->stmt, 1));
    if (pra__sql_column_bits(c->stmt, 1, &bits) != PRA_OK)
        return PRA_ERR_CORRUPT;
    return pra__feed_sample(feed, c->timestamp_ms, bits);
}

/* Both cursors' rows in order of time. */
static int feed_rows(pra__feed *feed, cursor *samples, cursor *histograms)
{
    int code = PRA_OK;
    while (code == PRA_OK && (samples->rc == SQLITE_ROW || histograms->rc == SQLITE_ROW)) {
        bool histogram =
            samples->rc != SQLITE_ROW ||
            (histograms->rc == SQLITE_ROW && histograms->timestamp_ms < samples->timestamp_ms);
        cursor *c = histogram ? histograms : samples;
        code = feed_row(feed, c, histogram);
        advance(c);
    }
    return code == PRA_OK ? pra__feed_flush(feed) : code;
}

int pra__sql_fetch(void *self, const pra_context *ctx, const pra_query *query, uint64_t id,
                   int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    sql_store *store = self;
    sql_conn *conn = NULL;
    pra__feed feed;
    (void)ctx; /* ids are of all tenants, and none is used again while the store is open */
    int code = pool_take(store, &conn, err);
    if (code != PRA_OK)
        return pra__sql_grade(code, err);
    uint64_t begun = pra__store_ticks();
    /* Without BEGIN: the transaction ends when both statements have been reset. What could not be
     * ended before (out of memory) must not go on. */
    if (!sqlite3_get_autocommit(conn->db))
        pra__sql_rollback(conn);
    int64_t end_ms = pra_query_end_ms(query);
    cursor samples = cursor_at(conn, SQL_SAMPLES, id, from_ms, end_ms);
    cursor histograms = {NULL, SQLITE_DONE, 0};
    if (atomic_load(&store->histograms))
        histograms = cursor_at(conn, SQL_HISTOGRAMS, id, from_ms, end_ms);
    pra__feed_init(&feed, conn->alloc, &conn->histograms, sink, err);
    code = feed_rows(&feed, &samples, &histograms);
    int rc = samples.rc != SQLITE_DONE ? samples.rc : histograms.rc;
    if (code == PRA_OK && rc != SQLITE_DONE)
        code = pra__sql_error(conn, rc, err);
    else if (code == PRA_ERR_CORRUPT)
        code = corrupt(err);
    else if (code == PRA_ERR_NOMEM)
        code = nomem(err);
    sqlite3_reset(samples.stmt);
    sqlite3_reset(histograms.stmt);
    atomic_fetch_add(&store->stats.read_ns, pra__store_ticks() - begun);
    pool_give(store, conn);
    return pra__sql_grade(code, err);
}
