# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    """The install directory of a proxy and its properties file."""

    DOCUMENTATION = r"""
options:
  home:
    description:
      - Install directory of the Edge Encryption proxy, such as V(/opt/EdgeProxy_443).
    type: path
    required: true
"""

    PROPERTIES = r"""
options:
  file:
    description: The properties file, relative to O(home) unless it is an absolute path.
    type: path
    default: conf/edgeencryption.properties
  encoding:
    description:
      - Character set of the file.
      - Java reads a properties file as ISO 8859-1 unless a program says otherwise. New values are written in ASCII with
        C(\uXXXX) escapes, which is right in either character set.
    type: str
    choices: [iso-8859-1, utf-8]
    default: iso-8859-1
  secret_names:
    description:
      - Regular expressions, searched case-insensitively in the names of properties, of further values that must not be shown.
      - Always masked are names that contain C(password), C(passphrase), C(secret), C(static.iv) or C(known.cleartext).
    type: list
    elements: str
    default: []
notes:
  - Structure, escapes and duplicates are read by the grammar of C(java.util.Properties).
  - Names of properties are listed on the documentation page I(Edge Encryption proxy server properties).
"""

    KEYSTORE = r"""
options:
  home:
    description:
      - Install directory of the Edge Encryption proxy. A relative O(path) starts here, and its C(java/jre/bin/keytool) is preferred.
    type: path
  path:
    description: The JCEKS keystore, relative to O(home) unless it is an absolute path.
    type: path
    required: true
  password:
    description: Password of the keystore.
    type: str
    required: true
  keytool:
    description:
      - The C(keytool) program to use.
      - Without it, C(java/jre/bin/keytool) below O(home) and then the search path are tried.
    type: path
notes:
  - Only keystores of the type JCEKS are accepted, because that is the type that the proxy documents.
  - The documentation page I(Set up a key pair) and KB0623738 ask that every key has the password of its keystore.
"""

    SERVICE = r"""
options:
  manager:
    description:
      - How the proxy is started and stopped.
      - V(scripts) uses C(startup.sh) and C(shutdown.sh) of the install directory, V(systemd) uses O(unit).
      - With V(auto) it is O(unit), else the unit whose file starts C(startup.sh) of this directory, as KB0622995 shows it, else
        the scripts.
    type: str
    choices: [auto, scripts, systemd]
    default: auto
  unit:
    description: The systemd unit that runs the proxy, such as V(edge.service).
    type: str
  pid_file:
    description: Where the proxy keeps the number of its process, relative to O(home) unless it is an absolute path.
    type: path
    default: bin/edgeencryption.pid
  host:
    description: Host name or address on which the proxy must be reached. Defaults to its property C(edgeencryption.proxy.host).
    type: str
  port:
    description:
      - Port on which the proxy must be reached.
      - Defaults to its property C(edgeencryption.proxy.https.port), else to C(edgeencryption.proxy.http.port).
    type: int
  log_file:
    description: The log of the proxy, relative to O(home) unless it is an absolute path.
    type: path
    default: logs/edgeencryption.log
notes:
  - Runs on Linux only. Run it as the user that the proxy runs as, or as root, else it may not see who listens on the port.
  - As another user than root it calls C(sudo -n systemctl start UNIT) and C(sudo -n systemctl stop UNIT) if sudo lets this user run exactly that,
    else C(systemctl) itself, so that a rule of polkit can allow it. See the guide on least privilege.
  - No line of the log is documented that says that a proxy has started. What counts is a process that lives on, its port, and
    the absence of the failure lines of KB0621218.
"""
