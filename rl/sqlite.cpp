#include "rl/sqlite.h"

#include <stdexcept>

#include <fmt/core.h>

namespace hone::sqlite {

void fail(sqlite3* db, const std::string& path, const std::string& doing) {
  const int code = sqlite3_errcode(db);
  const std::string reason = sqlite3_errmsg(db);
  if (code == SQLITE_NOTADB) {
    throw std::runtime_error(path + ": not a SQLite database; move it away or choose another --run-dir");
  }
  if (code == SQLITE_FULL || code == SQLITE_IOERR) {
    throw std::runtime_error(fmt::format(
        "{}: {}: {}; the disk is probably full: free some space and go on with --resume", path, doing, reason));
  }
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
    throw std::runtime_error(
        fmt::format("{}: {}: another program holds the file; close it and go on with --resume", path, doing));
  }
  throw std::runtime_error(fmt::format("{}: {}: {}", path, doing, reason));
}

Database open_database(const std::string& name, const std::string& path, int flags) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &raw, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  Database db(raw);
  if (code != SQLITE_OK) fail(raw, path, "cannot be opened");
  sqlite3_busy_timeout(raw, 10000);
  return db;
}

void execute(sqlite3* db, const std::string& path, const char* sql, const char* doing) {
  if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(db, path, doing);
}

void check_version(sqlite3* db, const std::string& path, int newest) {
  Statement statement(db, path, "PRAGMA application_id");
  const int64_t version = (statement.step() ? statement.integer(0) : 0) - kApplicationId;
  if (version <= newest || version > 255) return;
  throw std::runtime_error(fmt::format(
      "{}: made by a newer hone (format {}, this one reads up to {}); use that hone, or choose another --run-dir", path,
      version, newest));
}

Statement::Statement(sqlite3* db, const std::string& path, const char* sql) : db_(db), path_(path) {
  if (sqlite3_prepare_v2(db, sql, -1, &statement_, nullptr) != SQLITE_OK) fail(db, path, "cannot be read or written");
}

Statement& Statement::bind(std::string_view text) {
  const char* data = text.data() ? text.data() : "";  // a null pointer would be stored as NULL
  return checked(sqlite3_bind_text64(statement_, ++index_, data, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

Statement& Statement::bind(double value) {
  if (!std::isfinite(value)) return checked(sqlite3_bind_null(statement_, ++index_));
  return checked(sqlite3_bind_double(statement_, ++index_, value));
}

Statement& Statement::bind_bytes(const void* data, size_t size) {
  return checked(sqlite3_bind_blob64(statement_, ++index_, size ? data : "", size, SQLITE_TRANSIENT));
}

Statement& Statement::checked(int code) {
  if (code != SQLITE_OK) fail(db_, path_, "a value cannot be stored");
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) fail(db_, path_, "cannot be read or written");
  return code == SQLITE_ROW;
}

void Statement::run() {
  while (step()) {
  }
  sqlite3_reset(statement_);
  index_ = 0;
}

}  // namespace hone::sqlite
