/* SPDX-License-Identifier: Apache-2.0
 *
 * What scripts see of libpra and libpra_server. Everything in the headers is hidden; what is
 * named in pra_types.i is shown. Only handles and numbers cross here: requests, queries and
 * results are the business of thunk_<language>.c, which builds the language's own objects.
 *
 * A language file (pra_<language>.i) supplies:
 *   typemap(in)     const pra_storage *storage       a script object, through the thunk
 *   typemap(in)     pra_str, pra_headers             text or bytes in; borrowed for the call
 *   typemap(in)     (const void *data, size_t len)   bytes in; borrowed for the call
 *   typemap(out)    pra_str, pra_bytes               text; bytes (ptr NULL: nothing)
 *   typemap(in)     pra_log                          where a server's log lines go
 *   typemap(argout) pra_error *err                   raises, or returns nil, message, code
 * and whatever else its thunk offers.
 */
%module(threads="1") pra

%{
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>
#include "pra.h"
#include "pra_server.h"
%}

/* PRA_LONG_CALL names the few calls during which other threads may run the language. */
#if defined(SWIGPYTHON)
%nothread;
#define PRA_LONG_CALL(name) %thread name
#else
#define PRA_LONG_CALL(name)
#endif

%include <stdint.i>
%include "pra_errors.i"

#if defined(SWIGPYTHON)
%include "pra_python.i"
#elif defined(SWIGLUA)
%include "pra_lua.i"
#endif

%include "pra_types.i"
