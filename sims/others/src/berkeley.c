/* Berkeley DB's methods as functions: only its header knows where they are in its structures. */

#include <db.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int bdb_open(const char *home, int private_env, uint32_t page, DB_ENV **env, DB **db) {
    uint32_t flags = DB_CREATE | DB_RECOVER | DB_INIT_MPOOL | DB_INIT_LOG | DB_INIT_TXN
                     | DB_INIT_LOCK | (private_env ? DB_PRIVATE : 0);
    int code = db_env_create(env, 0);
    if (code != 0) {
        *env = NULL;
        return code;
    }
    if ((code = (*env)->set_lg_max(*env, 128 << 10)) != 0) return code;
    if ((code = (*env)->set_cachesize(*env, 0, 64 << 10, 1)) != 0) return code;
    if ((code = (*env)->open(*env, home, flags, 0644)) != 0) return code;
    if ((code = db_create(db, *env, 0)) != 0) {
        *db = NULL;
        return code;
    }
    if ((code = (*db)->set_pagesize(*db, page)) != 0) return code;
    return (*db)->open(*db, NULL, "store.db", NULL, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT, 0644);
}

static DBT dbt(const void *data, uint32_t size) {
    DBT out;
    memset(&out, 0, sizeof out);
    out.data = (void *)data;
    out.size = size;
    return out;
}

int bdb_put(DB *db, const void *key, uint32_t key_len, const void *value, uint32_t value_len) {
    DBT k = dbt(key, key_len), v = dbt(value, value_len);
    return db->put(db, NULL, &k, &v, DB_AUTO_COMMIT);
}

/* 0 also if there is no such key. */
int bdb_delete(DB *db, const void *key, uint32_t key_len) {
    DBT k = dbt(key, key_len);
    int code = db->del(db, NULL, &k, DB_AUTO_COMMIT);
    return code == DB_NOTFOUND ? 0 : code;
}

int bdb_checkpoint(DB_ENV *env) {
    return env->txn_checkpoint(env, 0, 0, DB_FORCE);
}

/* Calls `each` for every item; 0 at the end. */
int bdb_scan(DB *db, void *to,
             void (*each)(void *, const void *, uint32_t, const void *, uint32_t)) {
    DBC *cursor;
    DBT k = dbt(NULL, 0), v = dbt(NULL, 0);
    int closed, code = db->cursor(db, NULL, &cursor, 0);
    if (code != 0) return code;
    while ((code = cursor->get(cursor, &k, &v, DB_NEXT)) == 0)
        each(to, k.data, k.size, v.data, v.size);
    closed = cursor->close(cursor);
    return code != DB_NOTFOUND ? code : closed;
}

void bdb_close(DB_ENV *env, DB *db) {
    if (db != NULL) db->close(db, 0);
    if (env != NULL) env->close(env, 0);
}
