/* SPDX-License-Identifier: Apache-2.0 */
/* Connections, statements, values and errors of the SQLite store. */
#include <string.h>

#include "sqlite_store.h"

enum { BUSY_TIMEOUT_MS = 5000 };

int pra__sql_open(sql_conn *conn, const pra_alloc *alloc, const char *path, int flags,
                  pra_error *err)
{
    *conn = (sql_conn){.alloc = alloc};
    int rc = sqlite3_open_v2(path, &conn->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(conn->db, 1);
        sqlite3_busy_timeout(conn->db, BUSY_TIMEOUT_MS);
        return PRA_OK;
    }
    int code = pra__sql_error(conn, rc, err);
    pra__sql_close(conn);
    return code;
}

void pra__sql_close(sql_conn *conn)
{
    for (int i = 0; i < SQL_STATEMENTS; i++)
        sqlite3_finalize(conn->statements[i]);
    sqlite3_close(conn->db);
    pra__sql_labels_fini(conn->alloc, &conn->labels);
    pra__free(conn->alloc, conn->value, conn->value_cap);
    pra_write_request_free(conn->histograms);
    *conn = (sql_conn){.alloc = conn->alloc};
}

sqlite3_stmt *pra__sql_stmt(sql_conn *conn, int which)
{
    sqlite3_stmt **stmt = &conn->statements[which];
    if (*stmt)
        sqlite3_reset(*stmt);
    else
        sqlite3_prepare_v3(conn->db, pra__sql_text[which], -1, SQLITE_PREPARE_PERSISTENT, stmt,
                           NULL);
    return *stmt;
}

int pra__sql_once(sqlite3_stmt *stmt, int64_t *out)
{
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW && out)
        *out = sqlite3_column_int64(stmt, 0);
    int end = sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? rc : end;
}

int pra__sql_run(sql_conn *conn, int which)
{
    sqlite3_stmt *stmt = pra__sql_stmt(conn, which);
    if (!stmt)
        return sqlite3_errcode(conn->db);
    int rc = pra__sql_once(stmt, NULL);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int pra__sql_rollback(sql_conn *conn)
{
    for (int i = 0; i < SQL_STATEMENTS; i++)
        sqlite3_reset(conn->statements[i]);
    return sqlite3_get_autocommit(conn->db) ? SQLITE_OK : pra__sql_run(conn, SQL_ROLLBACK);
}

int pra__sql_begin(sql_conn *conn, int which)
{
    int rc = pra__sql_rollback(conn);
    return rc == SQLITE_OK ? pra__sql_run(conn, which) : rc;
}

const char *pra__sql_message(const sql_conn *conn, int rc)
{
    int last = conn->db ? sqlite3_errcode(conn->db) : SQLITE_OK;
    bool failed = last != SQLITE_OK && last != SQLITE_ROW && last != SQLITE_DONE;
    return failed ? sqlite3_errmsg(conn->db) : sqlite3_errstr(rc);
}

int pra__sql_error(const sql_conn *conn, int rc, pra_error *err)
{
    const char *text = pra__sql_message(conn, rc);
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "the store is out of memory");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
        return pra__store_fail(err, PRA_ERR_CORRUPT, "the store's file is damaged: %s", text);
    default: /* disk full, I/O error, busy, no permission */
        return pra__store_fail(err, PRA_ERR_IO, "the store cannot use its file: %s", text);
    }
}

/* ---- values */

void pra__sql_bind_str(sqlite3_stmt *stmt, int index, pra_str s)
{
    sqlite3_bind_text(stmt, index, s.len ? s.ptr : "", (int)s.len, SQLITE_STATIC);
}

void pra__sql_bind_value(sqlite3_stmt *stmt, int index, const double *value)
{
    uint64_t bits = pra__double_bits(value);
    bool nan = (bits & 0x7fffffffffffffff) > 0x7ff0000000000000;
    if (!nan && bits != 0x8000000000000000) {
        sqlite3_bind_double(stmt, index, *value);
        return;
    }
    unsigned char blob[8];
    for (int i = 0; i < 8; i++)
        blob[i] = (unsigned char)(bits >> (56 - 8 * i));
    sqlite3_bind_blob(stmt, index, blob, sizeof blob, SQLITE_TRANSIENT);
}

/* By sqlite3_value, which takes fewer calls: this is done for every sample that is read. It is
 * allowed on connections without a mutex, as all of ours are. */
int pra__sql_column_bits(sqlite3_stmt *stmt, int column, uint64_t *bits)
{
    sqlite3_value *stored = sqlite3_column_value(stmt, column);
    int type = sqlite3_value_type(stored);
    if (type == SQLITE_FLOAT) {
        double value = sqlite3_value_double(stored);
        *bits = pra__double_bits(&value);
        return PRA_OK;
    }
    if (type != SQLITE_BLOB || sqlite3_value_bytes(stored) != 8)
        return PRA_ERR_CORRUPT;
    const unsigned char *blob = sqlite3_value_blob(stored);
    *bits = 0;
    for (int i = 0; i < 8; i++)
        *bits = *bits << 8 | blob[i];
    return PRA_OK;
}

pra_str pra__sql_column_str(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    return (pra_str){text, text ? (size_t)sqlite3_column_bytes(stmt, column) : 0};
}

pra_str pra__sql_column_blob(sqlite3_stmt *stmt, int column)
{
    const char *data = sqlite3_column_blob(stmt, column);
    return (pra_str){data, data ? (size_t)sqlite3_column_bytes(stmt, column) : 0};
}
