//! Accounts: useradd(8), usermod(8), sshd(8) and sudoers(5).
//!
//! On the device `/var/lib/evenkeel/accounts/<user>` says what is ours of an account: `unit` whose it is, `made` its uid if we made it, and
//! `before/` what one that was there already had. Whoever has an account owns its home and may put anything in our way there, so root neither
//! reads nor writes in it: the account itself does, for a bounded time, and nothing that it can't do there keeps rights from being taken away.
//!
//! A change is saved, done, and then waits until somebody has logged in anew ([`crate::detached`]); if nobody has, it is undone.

use std::fmt::Write as _;

use reconcile::{Account, Content};

use crate::script::{quote, quote_all, write_file};

/// Quarters of a second that a change waits for somebody to log in, before it is undone: a minute, in which that is tried again and again.
const CONFIRM: u32 = 240;
/// Bytes of a file of keys that are looked at; ours has 64 KiB at most.
const KEYS: u32 = 128 << 10;

/// Seconds that an account gets for what it has to do in its home, and for being read.
const PATIENCE: u32 = 10;
const GLANCE: u32 = 2;

/// What reading and changing have in common.
const LOOK: &str = r#"K="$E/accounts"
# What there is of the account $1. Fails if there is none.
who() {
  a_uid= a_gid= a_note= a_home= a_shell=
  IFS=: read -r a_x a_x a_uid a_gid a_note a_home a_shell <<EVENKEEL_WHO
$(getent passwd "$1")
EVENKEEL_WHO
  [ -n "$a_uid" ]
}
# Runs a script as the account that was looked at last; its home is $1 there. What can't even be killed, such as one that waits for a file
# system of the account's own, is not waited for, and while it is there no other one is begun.
as_them() {
  ! is_alive "$(cat "$E/stuck.$a_uid" 2>/dev/null)" || return 124
  rm -f "$E/stuck.$a_uid"
  th="$(mktemp -d)" || return 1
  exec 3<&0
  (cd / && timeout -s KILL "$PATIENCE" setpriv --reuid "$a_uid" --regid "$a_gid" --clear-groups sh -c "$1" sh "$R$a_home" > "$th/out" 2>/dev/null; echo $? > "$th/code") <&3 3<&- >/dev/null 2>&1 &
  exec 3<&-
  th_i=0
  while [ ! -s "$th/code" ] && [ "$th_i" -lt $((PATIENCE*10+10)) ]; do sleep 0.1; th_i=$((th_i+1)); done
  th_code="$(cat "$th/code" 2>/dev/null)"
  [ -n "$th_code" ] || process "$!" > "$E/stuck.$a_uid"
  head -c $((KEYS+1)) "$th/out"
  rm -rf "$th"
  return "${th_code:-124}"
}
# A process by its id and by when it began: that is nobody else's.
process() { echo "$1 $(cut -d' ' -f22 "/proc/$1/stat" 2>/dev/null)"; }
is_alive() { [ -n "$1" ] && [ "$(process "${1%% *}")" = "$1" ] && [ -n "${1#* }" ]; }
# Whether it is the account by which the engine logs in, under whatever name.
is_own() { [ -n "$a_uid" ] && [ "$a_uid" = "$(id -u "${EVENKEEL_LOGIN:-root}" 2>/dev/null)" ]; }
# Whether we made it.
is_ours() { [ -f "$K/$1/made" ] && [ "$(cat "$K/$1/made")" = "$a_uid" ]; }
is_expired() {
  a_end="$(getent shadow "$1" | cut -d: -f8)"
  [ -n "$a_end" ] && [ "$a_end" -le $(($(date +%s)/86400)) ]
}
"#;

/// What changing needs beside that.
const CHANGE: &str = r#"rules() { printf '%s/etc/sudoers.d/evenkeel-%s' "$R" "$1"; }
# Others may hold the lock of /etc/passwd for a moment.
patiently() {
  t=0
  until "$@" > "$D/said" 2>&1; do
    t=$((t+1))
    grep -q 'lock' "$D/said" && [ "$t" -lt 20 ] || { cat "$D/said"; return 1; }
    sleep 1
  done
}
write_keys() {
  as_them 'umask 077; d="$1/.ssh"
    [ ! -L "$d" ] && [ -d "$d" ] || { rm -rf "$d"; mkdir "$d" || exit 1; }
    chmod 700 "$d"; t="$d/.evenkeel-keys"; rm -rf "$t" || mv -fT "$t" "$d/.aside.$$"
    cat > "$t" && chmod 600 "$t" || exit 1
    [ ! -d "$d/authorized_keys" ] || rm -rf "$d/authorized_keys" || mv -fT "$d/authorized_keys" "$d/.aside.$$"
    mv -fT "$t" "$d/authorized_keys"' < "$1"
}
drop_keys() {
  as_them 'd="$1/.ssh"; [ -e "$d" ] || [ -L "$d" ] || exit 0
    [ -L "$d" ] || chmod 700 "$d"
    rm -rf "$d/authorized_keys" || mv -fT "$d/authorized_keys" "$d/.aside.$$"'
}
lock() { patiently usermod -L -e 1 "$1"; }
unlock() { if is_ours "$1"; then patiently usermod -p '*' -e '' "$1"; else patiently usermod -e '' "$1"; fi; }
# What there is of account $2 is saved below $1.
save_account() {
  s="$1/account.$2"
  (umask 077; mkdir -p "$s") || die "cannot make $s"
  if who "$2"; then
    getent shadow "$2" | cut -d: -f8 > "$s/expires"
    # Where it leads to what its owner may not read, there is nothing of theirs to save.
    if as_them '[ -f "$1/.ssh/authorized_keys" ] && [ -r "$1/.ssh/authorized_keys" ]'; then
      as_them "head -c $((KEYS+1))"' "$1/.ssh/authorized_keys"' > "$s/keys" && [ "$(wc -c < "$s/keys")" -le "$KEYS" ] || {
        rm -f "$s/keys"
        # Of one that has no record yet nothing of ours is there that would have to go.
        [ -d "$K/$2" ] || die "$2: its keys cannot be read, or are more than $KEYS bytes"
        echo "evenkeel: $2: its keys cannot be read, and are not saved"
      }
    fi
    : > "$s/exists" || die "cannot write $s"
  fi
  if [ -e "$(rules "$2")" ]; then cp -p "$(rules "$2")" "$s/rules" || die "$(rules "$2") cannot be saved"; fi
  if [ -d "$K/$2" ]; then cp -a "$K/$2" "$s/record" || die "$K/$2 cannot be saved"; fi
}
# Sudo's rules are made beside, and everything that sudo reads is checked with them in place.
put_rules() {
  chmod 0440 "$1"
  visudo -cf "$1" > "$D/visudo" 2>&1 || { cat "$D/visudo"; die "sudo does not take the rules"; }
  t="$R/etc/.evenkeel-sudoers"
  cp -T --remove-destination "$1" "$t" && chown root:root "$t" && chmod 0440 "$t" || die "$t cannot be written"
  sync "$t" 2>/dev/null
  mv -fT "$t" "$2" || die "$2 cannot be put in place"
  visudo -cf "$R/etc/sudoers" > "$D/visudo" 2>&1 || { cat "$D/visudo"; die "sudo can't be used with the rules in place"; }
  grep -qF "$2" "$D/visudo" || die "sudo does not read $2: /etc/sudoers has no @includedir /etc/sudoers.d"
}
# Account $1 of unit $2, as $D/keys.$1 and $D/rules.$1 have it.
put_account() {
  if ! who "$1"; then
    shell=/bin/bash; [ -x "$R/bin/bash" ] || shell=/bin/sh
    rm -rf "${K:?}/$1"; mkdir -p "$K/$1" && : > "$K/$1/making" || die "cannot write $K/$1"
    sync "$K/$1/making" "$K/$1" 2>/dev/null
    failed=; patiently useradd -m -s "$shell" -c "made by Evenkeel" -p '*' "$1" || failed=1
    ! who "$1" || echo "$a_uid" > "$K/$1/made" || die "cannot write $K/$1"
    [ -z "$failed" ] || die "$1: cannot be made"
    who "$1" || die "$1: is not there after useradd"
  elif [ -e "$K/$1/making" ] && [ ! -e "$K/$1/made" ] && [ "$a_note" = "made by Evenkeel" ]; then
    # We went down between making it and writing that down.
    echo "$a_uid" > "$K/$1/made" || die "cannot write $K/$1"
  elif ! is_ours "$1" && [ ! -d "$K/$1/before" ]; then
    rm -rf "${K:?}/$1"; mkdir -p "$K/$1" && cp -a "$S/account.$1" "$K/$1/before.new" || die "cannot write $K/$1"
    find "$K/$1/before.new" -exec sync {} + 2>/dev/null
    mv -T "$K/$1/before.new" "$K/$1/before" || die "cannot write $K/$1"
  fi
  rm -f "$K/$1/making"
  if is_expired "$1"; then unlock "$1" || die "$1: cannot be unlocked"; fi
  echo "$2" > "$K/$1/unit" || die "cannot write $K/$1"
  write_keys "$D/keys.$1" || die "$1: its keys cannot be written to $a_home/.ssh"
  if [ -f "$D/rules.$1" ]; then put_rules "$D/rules.$1" "$(rules "$1")"; else rm -f "$(rules "$1")"; fi
}
# Keys and rules of account $1 go. One that we made is locked; who was there before gets back what they had. Nothing that its owner can do
# in their home keeps it from going: whose keys can't be put right, can't log in any more.
take_off() {
  if ! who "$1"; then rm -f "$(rules "$1")"; rm -rf "${K:?}/$1"; return 0; fi
  ! is_own || die "$1 is the account by which the engine logs in"
  rm -f "$(rules "$1")"
  if is_ours "$1"; then
    lock "$1" || die "$1: cannot be locked"
    drop_keys || echo "evenkeel: $1: its keys could not be taken off; it is locked"
    rm -f "$K/$1/unit"
    echo "$1" >> "$D/locked"
  elif [ -d "$K/$1/before" ]; then
    if [ -f "$K/$1/before/keys" ]; then write_keys "$K/$1/before/keys"; else drop_keys; fi || {
      patiently usermod -e 1 "$1" || die "$1: its keys cannot be put back, and it cannot be locked"
      echo "evenkeel: $1: its keys could not be put back: it has expired (usermod -e '' $1 lets it in again)"
      echo "$1" >> "$D/locked"; rm -rf "${K:?}/$1"; return 0
    }
    patiently usermod -e "$(cat "$K/$1/before/expires")" "$1" || die "$1: cannot be changed"
    rm -rf "${K:?}/$1"
  else
    # Somebody has made another one of it.
    drop_keys || patiently usermod -e 1 "$1" || die "$1: its keys cannot be taken off"
    rm -rf "${K:?}/$1"
  fi
}
# Account $2 becomes again what was saved of it below $1.
bring_back() {
  s="$1/account.$2" ok=0
  if [ -e "$s/rules" ]; then cp -pT --remove-destination "$s/rules" "$R/etc/.evenkeel-sudoers" && mv -fT "$R/etc/.evenkeel-sudoers" "$(rules "$2")" || ok=1
  else rm -f "$(rules "$2")"; fi
  if [ -f "$s/exists" ] && who "$2"; then
    if [ -f "$s/keys" ]; then write_keys "$s/keys"; else drop_keys; fi || ok=1
    rm -rf "${K:?}/$2"
    if [ -d "$s/record" ]; then cp -a "$s/record" "$K/$2" || ok=1; fi
    if [ -n "$(cat "$s/expires")" ]; then
      if is_ours "$2" && [ "$(cat "$s/expires")" -le $(($(date +%s)/86400)) ]; then lock "$2"; else patiently usermod -e "$(cat "$s/expires")" "$2"; fi || ok=1
    elif is_expired "$2"; then unlock "$2" || ok=1; fi
  elif who "$2"; then
    lock "$2" || ok=1
    drop_keys || ok=1
    rm -f "$K/$2/unit"
  fi
  return "$ok"
}
all_back() {
  lost=; for s in "$1"/account.*; do [ ! -d "$s" ] || bring_back "$1" "${s##*/account.}" || lost=1; done
  if [ -z "$lost" ]; then echo "evenkeel: what was there before is back"; else echo "evenkeel: not all of what was there before could be brought back"; fi
}
# Whoever makes `confirmed` first has decided: somebody who has logged in, or we that it takes too long.
confirm() {
  # One that is only rehearsed has not got a minute.
  [ -z "$R" ] || CONFIRM=40
  : > "$D/confirm"; i=0
  while [ ! -d "$D/confirmed" ] && [ "$i" -lt "$CONFIRM" ]; do sleep 0.25; i=$((i+1)); done
  if mkdir "$D/confirmed" 2>/dev/null; then rm -f "$D/confirm"; return 1; fi
  rm -f "$D/confirm"
}
# Who can't log in any more is not logged in either.
end_sessions() {
  [ -z "$R" ] && [ -f "$D/locked" ] || return 0
  while read -r user; do
    who "$user" && is_expired "$user" && [ "$a_uid" -ge 1000 ] || continue
    if command -v loginctl >/dev/null; then loginctl disable-linger "$user"; loginctl terminate-user "$user"; fi >/dev/null 2>&1
    # First none of them can start another one.
    for round in 1 2 3 4 5; do
      signal=KILL; [ "$round" -gt 2 ] || signal=STOP
      left=; for p in /proc/[0-9]*; do [ "$(stat -c %u "$p" 2>/dev/null)" != "$a_uid" ] || { kill -s "$signal" "${p#/proc/}" 2>/dev/null; left=1; }; done
      [ -n "$left" ] || break
      sleep 0.25
    done
    [ -z "$left" ] || echo "evenkeel: $user: not all of their processes have ended"
  done < "$D/locked"
}
# Does $@, and undoes it from below $1 if that fails or nobody can log in afterwards.
carefully() {
  from="$1"; shift
  # Whoever says that it takes too long gets it undone as well.
  trap 'all_back "$from"; exit 1' TERM
  if ! ("$@"); then all_back "$from"; exit 1; fi
  if ! confirm; then
    all_back "$from"
    die "undone: the engine could not log in (and become root) within $((CONFIRM/4)) s after the change"
  fi
  trap - TERM
  end_sessions
}
"#;

fn functions() -> String {
    format!("KEYS={KEYS}\nCONFIRM={CONFIRM}\nPATIENCE={PATIENCE}\n{LOOK}{CHANGE}")
}

fn users(accounts: &[Account]) -> String {
    quote_all(accounts.iter().map(|account| account.user.as_str()))
}

/// Reads accounts: `C`, the name, the hash of the keys (`-`: none, `?`: that can't be found out), that of the rules, and whether it has
/// expired; or `-` alone, where it is not there, or was taken off. Who can't ask for accounts at all says nothing of them.
pub(crate) fn read(users: &[&str]) -> String {
    let mut script = format!("KEYS={KEYS}\nPATIENCE={GLANCE}\n{LOOK}");
    let users = quote_all(users.iter().copied());
    let _ = write!(
        script,
        r#"hash() {{ sha256sum | cut -d' ' -f1; }}
for u in {users}; do
  getent passwd "$u" >/dev/null; code=$?
  if [ "$code" = 2 ]; then printf 'C\t%s\t-\n' "$u"; continue; fi
  [ "$code" = 0 ] && who "$u" || continue
  f="$R/etc/sudoers.d/evenkeel-$u" rules=-
  if [ "$(id -u)" != 0 ]; then printf 'C\t%s\t?\t-\t\n' "$u"; continue; fi
  [ ! -e "$f" ] || rules="$(hash < "$f")"
  keys="$(as_them 'f="$1/.ssh/authorized_keys"; if [ -f "$f" ]; then head -c {KEYS} "$f" | sha256sum | cut -d" " -f1; elif [ -e "$f" ] || [ -L "$f" ]; then echo "?"; else echo -; fi' < /dev/null)"
  case "$keys" in -|'?') ;; *[!0-9a-f]*) keys='?' ;; esac
  locked=; if is_expired "$u"; then locked=1; fi
  if [ "$locked$keys$rules" = 1-- ] && is_ours "$u"; then printf 'C\t%s\t-\n' "$u"; continue; fi
  printf 'C\t%s\t%s\t%s\t%s\n' "$u" "${{keys:-?}}" "$rules" "$locked"
done
"#
    );
    script
}

/// Finds out whether the accounts can be had at all; changes nothing.
pub(super) fn prepare(accounts: &[Account]) -> String {
    if accounts.is_empty() {
        return String::new();
    }
    let mut script = format!(
        r#"KEYS={KEYS}
PATIENCE={PATIENCE}
{LOOK}[ "$(id -u)" = 0 ] || die "only root can make accounts: give the device's access become: sudo"
for program in useradd usermod getent setpriv timeout; do command -v "$program" >/dev/null || die "$program is not installed"; done
for u in {users}; do
  [ "$u" != "${{EVENKEEL_LOGIN:-root}}" ] || die "$u is the account by which the engine logs in"
  if who "$u"; then
    [ "$a_uid" != 0 ] && [ "$a_uid" != 65534 ] || die "$u is an account of the system (uid $a_uid)"
    [ "$a_uid" -ge 1000 ] || is_ours "$u" || die "$u is an account of the system (uid $a_uid)"
    ! is_own || die "$u is the account by which the engine logs in, under another name"
    [ -d "$R$a_home" ] || die "$u has no home: $a_home is not there"
    case "$a_shell" in */nologin|*/false) die "$u can't log in: its shell is $a_shell" ;; esac
  elif getent group "$u" >/dev/null; then die "there is a group $u, and no account of that name: it would get its rights"; fi
done
"#,
        users = users(accounts),
    );
    if accounts.iter().any(|account| !account.sudo.is_empty()) {
        script.push_str(
            r#"command -v visudo >/dev/null || die "sudo is not installed, so nobody can be allowed anything by it"
[ -d "$R/etc/sudoers.d" ] || die "/etc/sudoers.d is not there"
# Named by -f, since a mode that sudo itself puts up with breaks nothing: see visudo(8).
visudo -cf "$R/etc/sudoers" > "$D/visudo" 2>&1 || { cat "$D/visudo"; die "sudo's own rules are broken: nothing is put beside them"; }
"#,
        );
    }
    script
}

/// Saves what is there, of the accounts and of those that the same unit had before.
pub(super) fn save(accounts: &[Account], unit: &str) -> String {
    if accounts.is_empty() {
        return String::new();
    }
    format!(
        r#"{functions}(umask 077; mkdir -p "$K") || die "cannot make $K"
gone=
for f in "$K"/*/unit; do
  [ -f "$f" ] && [ "$(cat "$f")" = {unit} ] || continue
  u="${{f%/unit}}"; u="${{u##*/}}"
  case " {users} " in *" $u "*) ;; *) gone="$gone $u" ;; esac
done
for u in {users} $gone; do save_account "$S" "$u"; done
"#,
        functions = functions(),
        users = users(accounts),
    )
}

/// Makes the accounts what they should be, and takes off those that the same unit had before.
///
/// Stands after [`save`] in one script and uses its functions.
pub(super) fn change(accounts: &[Account], unit: &str) -> String {
    if accounts.is_empty() {
        return String::new();
    }
    let mut script = String::new();
    for account in accounts {
        let user = quote(&account.user);
        script.push_str(&write_file(&format!("\"$D/keys.\"{user}"), account.keys_file().as_bytes()));
        if let Some(rules) = account.sudoers_file() {
            script.push_str(&write_file(&format!("\"$D/rules.\"{user}"), rules.as_bytes()));
        }
    }
    let _ = write!(
        script,
        r#"change() {{
  for u in {users}; do put_account "$u" {unit}; done
  for u in $gone; do take_off "$u"; done
}}
carefully "$S" change
"#,
        users = users(accounts)
    );
    script
}

/// Brings back what another step saved, which is below `$S`.
pub(super) fn restore(accounts: &[Account]) -> String {
    if accounts.is_empty() {
        return String::new();
    }
    format!(
        r#"{functions}for s in "$S"/account.*; do [ ! -d "$s" ] || save_account "$D/before" "${{s##*/account.}}"; done
change() {{ for s in "$S"/account.*; do [ ! -d "$s" ] || bring_back "$S" "${{s##*/account.}}" || die "${{s##*/account.}}: cannot be brought back"; done; }}
carefully "$D/before" change
"#,
        functions = functions()
    )
}

/// Takes the accounts off.
pub(super) fn remove(content: &Content) -> String {
    if content.accounts.is_empty() {
        return String::new();
    }
    format!(
        r#"{functions}S="$D/before"
for u in {users}; do save_account "$S" "$u"; done
change() {{ for u in {users}; do take_off "$u"; done; }}
carefully "$S" change
"#,
        functions = functions(),
        users = users(&content.accounts)
    )
}
