/* SPDX-License-Identifier: Apache-2.0 */
#include "thunk_python_write.h"

#include <time.h>

struct pra__py_scope {
    PyObject_HEAD int closed;
    size_t users;           /* changed with the GIL only */
    pra__py_memory *memory; /* what ends with it, or NULL */
};

static void end_memory(pra__py_scope *scope)
{
    pra__py_memory *memory = scope->memory;
    scope->memory = NULL;
    if (memory) {
        pra__py_memory_end(memory);
        Py_DECREF(memory);
    }
}

/* What is open when nobody has it any more is over too. */
static void scope_dealloc(PyObject *self)
{
    end_memory((pra__py_scope *)self);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *scope_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    pra__py_scope_close((pra__py_scope *)self);
    Py_RETURN_NONE;
}

static PyMethodDef scope_methods[] = {{"close", scope_close, METH_NOARGS, NULL},
                                      {NULL, NULL, 0, NULL}};

static PyTypeObject scope_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api._pra.Scope",
    .tp_basicsize = sizeof(pra__py_scope),
    .tp_dealloc = scope_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_methods = scope_methods,
};

pra__py_scope *pra__py_scope_new(void)
{
    pra__py_scope *scope = PyObject_New(pra__py_scope, &scope_type);
    if (scope) {
        scope->closed = 0;
        scope->users = 0;
        scope->memory = NULL;
    }
    return scope;
}

void pra__py_scope_hold(pra__py_scope *scope, pra__py_memory *memory)
{
    scope->memory = (pra__py_memory *)Py_NewRef((PyObject *)memory);
}

int pra__py_scope_enter(pra__py_scope *scope)
{
    if (scope->closed) {
        PyErr_SetString(pra__py_expired_error,
                        "the request this object belongs to is over: copy what is "
                        "needed while it is being answered");
        return -1;
    }
    scope->users++;
    return 0;
}

void pra__py_scope_leave(pra__py_scope *scope)
{
    scope->users--;
}

void pra__py_scope_close(pra__py_scope *scope)
{
    scope->closed = 1;
    /* A thread of the storage's own may be inside with the GIL given away for a moment. */
    while (scope->users > 0) {
        Py_BEGIN_ALLOW_THREADS;
        (void)nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
        Py_END_ALLOW_THREADS;
    }
    end_memory(scope);
}

int pra__py_scope_init(PyObject *module)
{
    return PyModule_AddType(module, &scope_type);
}
