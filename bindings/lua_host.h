/* SPDX-License-Identifier: Apache-2.0 */
/* Lua scripts as storage of a program. Needs no Lua header. */
#ifndef PRA_LUA_HOST_H
#define PRA_LUA_HOST_H

#include "pra.h"

/* Where the text of a script error (message and traceback, several lines) goes. entry is the name
 * of the storage function. Called from any thread. */
typedef struct pra__lua_log {
    void *ctx;
    void (*fn)(void *ctx, const char *entry, const char *text_cstr);
} pra__lua_log;

/*
 * Runs the script at path in as many Lua states as its storage asks for (field threads; default
 * and at most workers), each with the module loaded; what the script returns is the storage.
 * workers: that of the server, see pra_context_worker. log NULL = standard error.
 * On success out is to be given to pra_handler_new, which takes it. Returns 0; PRA_ERR_INVALID_ARG
 * (the script fails, or returns no storage), PRA_ERR_NOMEM.
 */
int pra__lua_host_open(const char *path_cstr, uint32_t workers, const pra__lua_log *log,
                       pra_storage *out, pra_error *err);

#endif /* PRA_LUA_HOST_H */
