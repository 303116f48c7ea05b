//! Lines whose template is known, made from a seed: forms as OpenSSH, sudo, cron, the kernel, systemd, postfix, nginx, a DHCP server,
//! Docker and Cisco's boxes write them, with values that vary as theirs do.

/// A line and the number of the form that it was made of.
pub struct Sample {
    pub form: usize,
    pub program: &'static str,
    pub id: &'static str,
    pub message: String,
}

/// Program, kind, how often it comes, and the form with places in braces.
type Form = (&'static str, &'static str, u64, &'static str);

pub const FORMS: [Form; 64] = [
    ("sshd", "", 60, "Failed password for {user} from {ip} port {port} ssh2"),
    ("sshd", "", 40, "Failed password for invalid user {user} from {ip} port {port} ssh2"),
    ("sshd", "", 40, "Invalid user {user} from {ip} port {port}"),
    ("sshd", "", 30, "Accepted publickey for {user} from {ip} port {port} ssh2: RSA SHA256:{base64}"),
    ("sshd", "", 8, "Accepted password for {user} from {ip} port {port} ssh2"),
    ("sshd", "", 40, "Connection closed by {ip} port {port} [preauth]"),
    ("sshd", "", 20, "Connection closed by authenticating user {user} {ip} port {port} [preauth]"),
    ("sshd", "", 20, "Received disconnect from {ip} port {port}:11: Bye Bye [preauth]"),
    ("sshd", "", 20, "Disconnected from user {user} {ip} port {port}"),
    ("sshd", "", 30, "pam_unix(sshd:session): session opened for user {user}(uid={num}) by (uid=0)"),
    ("sshd", "", 30, "pam_unix(sshd:session): session closed for user {user}"),
    ("sshd", "", 30, "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={ip} user={user}"),
    ("sshd", "", 6, "reverse mapping checking getaddrinfo for {host} [{ip}] failed - POSSIBLE BREAK-IN ATTEMPT!"),
    ("sshd", "", 4, "error: maximum authentication attempts exceeded for {user} from {ip} port {port} ssh2 [preauth]"),
    ("sshd", "", 3, "Server listening on {ip} port {num}."),
    ("sudo", "", 20, "{user} : TTY=pts/{num} ; PWD=/home/{user} ; USER=root ; COMMAND={command}"),
    ("sudo", "", 20, "pam_unix(sudo:session): session opened for user root(uid=0) by {user}(uid={num})"),
    ("sudo", "", 20, "pam_unix(sudo:session): session closed for user root"),
    ("CRON", "", 40, "({user}) CMD ({command})"),
    ("CRON", "", 40, "pam_unix(cron:session): session opened for user {user}(uid={num}) by (uid=0)"),
    ("CRON", "", 40, "pam_unix(cron:session): session closed for user {user}"),
    ("kernel", "", 10, "[{uptime}] usb {num}-{num}: new high-speed USB device number {num} using xhci_hcd"),
    ("kernel", "", 10, "[{uptime}] usb {num}-{num}: USB disconnect, device number {num}"),
    ("kernel", "", 12, "[{uptime}] EXT4-fs ({disk}): mounted filesystem with ordered data mode. Opts: (null). Quota mode: none."),
    ("kernel", "", 10, "[{uptime}] {iface}: link up, 1000Mbps, full-duplex, lpa 0x{hex}"),
    ("kernel", "", 10, "[{uptime}] {iface}: link down"),
    (
        "kernel",
        "",
        10,
        "[{uptime}] Out of memory: Killed process {num} ({process}) total-vm:{num}kB, anon-rss:{num}kB, file-rss:{num}kB, shmem-rss:0kB, UID:{num} pgtables:{num}kB oom_score_adj:0",
    ),
    (
        "kernel",
        "",
        14,
        "[{uptime}] audit: type=1400 audit({epoch}:{num}): apparmor=\"DENIED\" operation=\"open\" profile=\"{path}\" name=\"{path}\" pid={num} comm=\"{process}\"",
    ),
    (
        "kernel",
        "",
        10,
        "[{uptime}] blk_update_request: I/O error, dev {disk}, sector {num} op 0x0:(READ) flags 0x{hex} phys_seg {num} prio class 0",
    ),
    (
        "kernel",
        "",
        20,
        "[{uptime}] [UFW BLOCK] IN={iface} OUT= MAC={mac} SRC={ip} DST={ip} LEN={num} TOS=0x00 PREC=0x00 TTL={num} ID={num} PROTO=TCP SPT={port} DPT={port} WINDOW={num} RES=0x00 SYN URGP=0",
    ),
    ("systemd", "", 20, "Started Session {num} of User {user}."),
    ("systemd", "", 20, "{unit}.service: Deactivated successfully."),
    ("systemd", "", 8, "{unit}.service: Main process exited, code=exited, status={num}/FAILURE"),
    ("systemd", "", 8, "{unit}.service: Failed with result 'exit-code'."),
    ("systemd", "", 8, "{unit}.service: Scheduled restart job, restart counter is at {num}."),
    ("systemd", "", 12, "{unit}.service: Consumed {float}s CPU time."),
    ("systemd-logind", "", 14, "New session {num} of user {user}."),
    ("systemd-logind", "", 14, "Session {num} logged out. Waiting for processes to exit."),
    ("systemd-logind", "", 14, "Removed session {num}."),
    ("postfix/smtpd", "", 25, "connect from {host}[{ip}]"),
    ("postfix/smtpd", "", 25, "disconnect from {host}[{ip}] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands={num}"),
    (
        "postfix/smtpd",
        "",
        10,
        "NOQUEUE: reject: RCPT from {host}[{ip}]: 554 5.7.1 <{mail}>: Relay access denied; from=<{mail}> to=<{mail}> proto=ESMTP helo=<{host}>",
    ),
    ("postfix/qmgr", "", 20, "{queue}: from=<{mail}>, size={num}, nrcpt={num} (queue active)"),
    ("postfix/qmgr", "", 20, "{queue}: removed"),
    (
        "postfix/smtp",
        "",
        20,
        "{queue}: to=<{mail}>, relay={host}[{ip}]:25, delay={float}, delays={float}/{float}/{float}/{float}, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as {queue})",
    ),
    (
        "nginx",
        "",
        50,
        "{ip} - - [02/Jan/2026:03:04:{sec} +0000] \"GET {path} HTTP/1.1\" {status} {num} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"",
    ),
    (
        "nginx",
        "",
        10,
        "{epochs} [error] {num}#{num}: *{num} open() \"{path}\" failed (2: No such file or directory), client: {ip}, server: {host}, request: \"GET {path} HTTP/1.1\", host: \"{host}\"",
    ),
    (
        "nginx",
        "",
        8,
        "{epochs} [error] {num}#{num}: *{num} upstream timed out (110: Connection timed out) while reading response header from upstream, client: {ip}, server: {host}, request: \"POST {path} HTTP/1.1\", upstream: \"http://{ip}:{port}{path}\"",
    ),
    ("dhcpd", "", 25, "DHCPDISCOVER from {mac} via {iface}"),
    ("dhcpd", "", 25, "DHCPOFFER on {ip} to {mac} ({host}) via {iface}"),
    ("dhcpd", "", 25, "DHCPREQUEST for {ip} ({ip}) from {mac} ({host}) via {iface}"),
    ("dhcpd", "", 25, "DHCPACK on {ip} to {mac} ({host}) via {iface}"),
    (
        "dockerd",
        "",
        12,
        "time=\"2026-01-02T03:04:{sec}.{num}Z\" level=info msg=\"ignoring event\" container={sha} module=libcontainerd namespace=moby topic=/tasks/delete type=\"*events.TaskDelete\"",
    ),
    (
        "dockerd",
        "",
        6,
        "time=\"2026-01-02T03:04:{sec}.{num}Z\" level=error msg=\"Handler for GET /v1.41/containers/{sha}/json returned error: No such container: {sha}\"",
    ),
    ("LINK", "UPDOWN", 20, "Interface {cisco}, changed state to {updown}"),
    ("LINEPROTO", "UPDOWN", 20, "Line protocol on Interface {cisco}, changed state to {updown}"),
    ("SYS", "CONFIG_I", 10, "Configured from console by {user} on vty{num} ({ip})"),
    ("SEC_LOGIN", "LOGIN_SUCCESS", 10, "Login Success [user: {user}] [Source: {ip}] [localport: 22] at 03:04:{sec} UTC Fri Jan 2 2026"),
    (
        "SEC_LOGIN",
        "LOGIN_FAILED",
        10,
        "Login failed [user: {user}] [Source: {ip}] [localport: 22] [Reason: Login Authentication Failed] at 03:04:{sec} UTC Fri Jan 2 2026",
    ),
    ("OSPF", "ADJCHG", 8, "Process {num}, Nbr {ip} on {cisco} from LOADING to FULL, Loading Done"),
    ("ASA", "302013", 30, "Built inbound TCP connection {num} for outside:{ip}/{port} ({ip}/{port}) to inside:{ip}/{port} ({ip}/{port})"),
    (
        "ASA",
        "302014",
        30,
        "Teardown TCP connection {num} for outside:{ip}/{port} to inside:{ip}/{port} duration 0:00:{sec} bytes {num} TCP FINs",
    ),
    ("ASA", "106023", 20, "Deny tcp src outside:{ip}/{port} dst inside:{ip}/{port} by access-group \"outside_in\" [0x{hex}, 0x{hex}]"),
    ("SW_MATM", "MACFLAP_NOTIF", 6, "Host {ciscomac} in vlan {num} is flapping between port {cisco} and port {cisco}"),
];

const USERS: [&str; 14] = [
    "root",
    "admin",
    "alice",
    "bob.smith",
    "svc-backup",
    "oracle",
    "test1",
    "postgres",
    "git",
    "ubuntu",
    "www-data",
    "deploy",
    "j.doe",
    "guest",
];
const HOSTS: [&str; 10] = [
    "mail.example.org",
    "web-03",
    "static-10-0-0-1.isp.example",
    "db01.lan",
    "unknown",
    "gw.example.com",
    "laptop-7f3a",
    "printer",
    "cam-12.lan",
    "node4.k8s.example.net",
];
const COMMANDS: [&str; 6] = [
    "/usr/bin/apt update",
    "/bin/systemctl restart nginx",
    "/usr/bin/test -x /usr/sbin/anacron",
    "/usr/bin/tail -n 50 -f /var/log/syslog",
    "/bin/ls",
    "cd / && run-parts --report /etc/cron.hourly",
];
const PATHS: [&str; 8] = [
    "/index.html",
    "/usr/sbin/cups-browsed",
    "/api/v1/items/4711",
    "/favicon.ico",
    "/etc/ssl/openssl.cnf",
    "/static/app.9f8e7d6c.js",
    "/login",
    "/proc/1234/status",
];
const PROCESSES: [&str; 6] = ["java", "mysqld", "chrome", "python3", "cups-browsed", "node"];
const UNITS: [&str; 8] =
    ["nginx", "apt-daily", "postgresql@15-main", "fwupd", "cron", "user-runtime-dir@1000", "logrotate", "systemd-tmpfiles-clean"];
const INTERFACES: [&str; 6] = ["eth0", "ens18", "enp3s0", "wlan0", "br0", "bond1"];
const DISKS: [&str; 5] = ["sda1", "sdb", "nvme0n1p2", "dm-0", "vda1"];
const CISCO: [&str; 6] =
    ["GigabitEthernet0/1", "GigabitEthernet1/0/24", "TenGigabitEthernet1/1/1", "Vlan10", "FastEthernet0/12", "Port-channel3"];

/// Numbers from a seed (Steele, Lea, Flood: "SplitMix").
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from_digit(u32::try_from(self.below(16)).unwrap(), 16).unwrap()).collect()
    }

    fn ip(&mut self) -> String {
        format!("{}.{}.{}.{}", 1 + self.below(223), self.below(256), self.below(256), self.below(255))
    }

    fn letters(&mut self, many: usize) -> String {
        const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..many).map(|_| char::from(LETTERS[usize::try_from(self.below(62)).unwrap()])).collect()
    }

    fn value(&mut self, place: &str) -> String {
        match place {
            "user" => self.of(&USERS).into(),
            "host" => self.of(&HOSTS).into(),
            "mail" => format!("{}@{}", self.of(&USERS), self.of(&HOSTS)),
            "command" => self.of(&COMMANDS).into(),
            "path" => self.of(&PATHS).into(),
            "process" => self.of(&PROCESSES).into(),
            "unit" => self.of(&UNITS).into(),
            "iface" => self.of(&INTERFACES).into(),
            "disk" => self.of(&DISKS).into(),
            "cisco" => self.of(&CISCO).into(),
            "updown" => self.of(&["up", "down"]).into(),
            "status" => self.of(&["200", "200", "304", "404", "500"]).into(),
            "ip" => self.ip(),
            "port" => (1024 + self.below(64_000)).to_string(),
            "num" => self.below(100_000).to_string(),
            "sec" => format!("{:02}", self.below(60)),
            "float" => format!("{}.{:02}", self.below(30), self.below(100)),
            "uptime" => format!("{:>5}.{:06}", self.below(90_000), self.below(1_000_000)),
            "epoch" => format!("17{:08}.{:03}", self.below(100_000_000), self.below(1000)),
            "epochs" => format!("2026/01/02 03:04:{:02}", self.below(60)),
            "hex" => self.hex(8),
            "sha" => self.hex(64),
            "queue" => self.hex(10).to_uppercase(),
            "mac" => (0..6).map(|_| self.hex(2)).collect::<Vec<_>>().join(":"),
            "ciscomac" => (0..3).map(|_| self.hex(4)).collect::<Vec<_>>().join("."),
            "base64" => self.letters(43),
            other => panic!("no such place: {other}"),
        }
    }
}

/// So many lines.
pub fn samples(seed: u64, many: usize) -> Vec<Sample> {
    let mut numbers = Numbers(seed);
    let weights: u64 = FORMS.iter().map(|form| form.2).sum();
    let mut one = || {
        let mut at = numbers.below(weights);
        let form = FORMS.iter().position(|form| at.checked_sub(form.2).map(|left| at = left).is_none()).unwrap();
        let (program, id, _, text) = FORMS[form];
        Sample { form, program, id, message: fill(text, &mut numbers) }
    };
    (0..many).map(|_| one()).collect()
}

fn fill(text: &str, numbers: &mut Numbers) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, (place, after))) = rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        filled.push_str(before);
        filled.push_str(&numbers.value(place));
        rest = after;
    }
    filled + rest
}
