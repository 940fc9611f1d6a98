/* SPDX-License-Identifier: Apache-2.0 */
/* Lua scripts as storage of a program. Needs no Lua header. */
#ifndef PRA_LUA_HOST_H
#define PRA_LUA_HOST_H

#include "pra.h"
#include "pra_server.h"

/*
 * A host runs one script in several Lua states, each of which serves one request at a time. They
 * share nothing but what the script keeps outside of Lua.
 */
typedef struct pra__lua_host pra__lua_host;

typedef struct pra__lua_host_opts {
    const char *path_cstr; /* the script */
    uint32_t workers;      /* that of the server, see pra_context_worker */
    uint32_t reserved;
    uint64_t max_memory;       /* bytes that one call may add to its state; 0 = no cap */
    uint64_t max_instructions; /* of one call; 0 = no cap. Loading the script is a call. */
    pra_log log;               /* fn NULL = none */
    /* package.path and package.cpath of the states; NULL = those of the environment. */
    const char *package_path_cstr, *package_cpath_cstr;
    /* Makes the modules written in Lua known to a new state, a lua_State *; may raise. NULL: they
     * are found by package.path. */
    void (*preload)(void *state);
} pra__lua_host_opts;

/*
 * Runs the script in as many Lua states as its storage asks for (field threads; default and at most
 * workers), each with the module loaded; what the script returns is the storage. The texts of opts
 * are copied. SIGTERM and SIGINT end the script meanwhile if the thread has them blocked.
 * On success storage is to be given to pra_handler_new, which takes it. Returns 0;
 * PRA_ERR_INVALID_ARG (the script fails, exceeds a cap, or returns no storage), PRA_ERR_NOMEM.
 */
int pra__lua_host_new(const pra__lua_host_opts *opts, pra_storage *storage, pra__lua_host **out,
                      pra_error *err);
/* Closes its states, each as soon as no call runs in it; later calls are refused. */
void pra__lua_host_close(pra__lua_host *host);
/* Lets go of the host itself; the storage may live on. NULL is allowed. */
void pra__lua_host_free(pra__lua_host *host);

/*
 * Runs the script again, in new states; when all are good they take the place of the old ones, each
 * of which is closed as soon as no call runs in it. The new storage must have the functions and
 * flags of the old one. On failure the old ones stay. Says in the log which. From one thread at a
 * time; requests may run meanwhile. Returns as pra__lua_host_new.
 */
int pra__lua_host_reload(pra__lua_host *host);

/* The modules of lua/prom_remote_api, as preload; in the program pra only. */
void pra__lua_preload(void *state);

#endif /* PRA_LUA_HOST_H */
