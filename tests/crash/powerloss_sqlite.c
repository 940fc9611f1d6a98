/* SPDX-License-Identifier: Apache-2.0 */
/* Loss of power under the SQLite store:  powerloss_sqlite [REQUESTS [SEED]]
 *
 * What survives is taken to be what was synced: whenever SQLite syncs the database or the WAL, the
 * file's content is set aside. At random moments, in the middle of a commit too, a second store is
 * opened on what was set aside, and must hold every acknowledged sample, and all or nothing of the
 * request under way. */
#include <time.h>

#include "numbered.h"

enum { MAX_PER_REQUEST = 50 };

struct loss {
    int pending; /* files are in after_path, to be checked */
    int64_t sent[THREADS];
    int64_t acknowledged[THREADS];
};

static char folder[64];
static char path[96];        /* the store */
static char synced_path[96]; /* what of it was synced */
static char after_path[96];  /* what a loss of power left */
static struct loss loss;
static int64_t sent[THREADS], acknowledged[THREADS];
static unsigned seed;
static int losses;

static void copy_file(const char *from, const char *to, const char *ending)
{
    char source[112], target[112], piece[65536];
    snprintf(source, sizeof source, "%s%s", from, ending);
    snprintf(target, sizeof target, "%s%s", to, ending);
    FILE *in = fopen(source, "rb"), *out = in ? fopen(target, "wb") : NULL;
    if (!in) {
        unlink(target);
        return;
    }
    check(out != NULL, "cannot copy");
    for (size_t n; (n = fread(piece, 1, sizeof piece, in)) > 0;)
        check(fwrite(piece, 1, n, out) == n, "cannot copy");
    fclose(in);
    check(fclose(out) == 0, "cannot copy");
}

static void lose_power(void)
{
    if (loss.pending || rand_r(&seed) % 3)
        return;
    loss.pending = 1;
    memcpy(loss.sent, sent, sizeof sent);
    memcpy(loss.acknowledged, acknowledged, sizeof acknowledged);
    remove_store(after_path);
    copy_file(synced_path, after_path, "");
    copy_file(synced_path, after_path, "-wal");
}

/* ---- SQLite's own VFS with another xSync for the two files */

static sqlite3_vfs *real_vfs;
static sqlite3_vfs our_vfs;
static sqlite3_io_methods database_methods, wal_methods;
static int (*real_database_sync)(sqlite3_file *file, int flags);
static int (*real_wal_sync)(sqlite3_file *file, int flags);

static int keep(int rc, const char *ending)
{
    if (rc == SQLITE_OK)
        copy_file(path, synced_path, ending);
    lose_power();
    return rc;
}

static int sync_database(sqlite3_file *file, int flags)
{
    lose_power();
    return keep(real_database_sync(file, flags), "");
}

static int sync_wal(sqlite3_file *file, int flags)
{
    lose_power();
    return keep(real_wal_sync(file, flags), "-wal");
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *out_flags)
{
    (void)vfs;
    int rc = real_vfs->xOpen(real_vfs, name, file, flags, out_flags);
    if (rc != SQLITE_OK || !name || strncmp(name, path, strlen(path)) != 0)
        return rc;
    /* Each kind of file has methods of its own. */
    sqlite3_io_methods *ours = flags & SQLITE_OPEN_MAIN_DB ? &database_methods
                               : flags & SQLITE_OPEN_WAL   ? &wal_methods
                                                           : NULL;
    if (!ours)
        return rc;
    *ours = *file->pMethods;
    *(ours == &wal_methods ? &real_wal_sync : &real_database_sync) = ours->xSync;
    ours->xSync = ours == &wal_methods ? sync_wal : sync_database;
    file->pMethods = ours;
    return rc;
}

static void install_vfs(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    our_vfs = *real_vfs;
    our_vfs.zName = "synced";
    our_vfs.xOpen = open_file;
    check(sqlite3_vfs_register(&our_vfs, 1) == SQLITE_OK, "cannot register a VFS");
}

/* ---- the loop */

static void check_loss(void)
{
    pra_storage store;
    pra_error err = {0};
    int64_t all = 0;
    if (!loss.pending)
        return;
    check(pra_store_sqlite_open(NULL, after_path, &keep_all, &store, &err) == PRA_OK, err.message);
    for (uint32_t i = 0; i < THREADS; i++) {
        int64_t stored = stored_of(&store, i, loss.sent[i]);
        check(stored >= loss.acknowledged[i], "something acknowledged is lost");
        check(stored == loss.acknowledged[i] || stored == loss.sent[i], "half a request is stored");
        all += stored;
    }
    check_file(after_path, all);
    store.vtbl->destroy(store.self);
    loss.pending = 0;
    losses++;
}

static void write_one(const pra_storage *store, pra_write_request *request, uint32_t thread)
{
    pra_write_result result;
    pra_error err = {0};
    sent[thread] = acknowledged[thread] + 1 + rand_r(&seed) % MAX_PER_REQUEST;
    check(build(request, thread, acknowledged[thread], sent[thread]) == PRA_OK, "cannot build");
    pra__write_result_init(&result, request);
    check(store->vtbl->write(store->self, NULL, request, &result, &err) == PRA_OK, err.message);
    acknowledged[thread] = sent[thread];
    lose_power();
    check_loss();
}

int main(int argc, char **argv)
{
    int requests = argc > 1 ? atoi(argv[1]) : 200;
    seed = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : (unsigned)time(NULL);
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/pra-power-XXXXXX",
             tmp && strlen(tmp) < sizeof folder - 20 ? tmp : "/tmp");
    check(requests > 0 && mkdtemp(folder) != NULL, "usage: powerloss_sqlite [REQUESTS [SEED]]");
    snprintf(path, sizeof path, "%s/store.db", folder);
    snprintf(synced_path, sizeof synced_path, "%s/synced.db", folder);
    snprintf(after_path, sizeof after_path, "%s/after.db", folder);
    printf("%d requests, seed %u\n", requests, seed);
    install_vfs();
    pra_storage store;
    pra_error err = {0};
    pra_write_request *request = NULL;
    check(pra_store_sqlite_open(NULL, path, &keep_all, &store, &err) == PRA_OK, err.message);
    check(pra_write_request_new(NULL, &request) == PRA_OK, "out of memory");
    sqlite3_wal_autocheckpoint(((sql_store *)store.self)->writer.db, 10);
    for (int i = 0; i < requests; i++)
        write_one(&store, request, (uint32_t)i % THREADS);
    pra_write_request_free(request);
    store.vtbl->destroy(store.self);
    check_loss();
    printf("power lost %d times, nothing acknowledged with it\n", losses);
    remove_store(path);
    remove_store(synced_path);
    remove_store(after_path);
    rmdir(folder);
    return losses > 0 ? 0 : 1;
}
