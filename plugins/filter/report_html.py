# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that makes a page of a report."""

from ansible.errors import AnsibleFilterError

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._report_html import render


def report_html(report):
    """Return the report as HTML; see report_html.yml."""
    try:
        return render(report)
    except EdgeError as error:
        raise AnsibleFilterError("report_html: {0}".format(error)) from error


class FilterModule:
    def filters(self):
        return {"report_html": report_html}
