"""Ready mappings for contacts, companies and deals. One vocabulary for the view, whoever the provider is.

========= ==============================================================================================
record    names of the view, as far as the provider has them
========= ==============================================================================================
contact   first_name, last_name, email, phone, mobile_phone, job_title, department, street, city, state,
          postal_code, country, description, company_id, owner_id, updated_at
company   name, domain, website, phone, industry, employees, annual_revenue, street, city, state,
          postal_code, country, address, description, owner_id, updated_at
deal      name, amount, currency, stage, pipeline, status, closes_on, probability, next_step, lost_reason,
          description, company_id, contact_id, owner_id, updated_at
========= ==============================================================================================

Each function takes further lines of your own, which come on top: fields of an account's own are mapped by them. They
need the extra ``mapping``.
"""

from __future__ import annotations

from ratesync.mapping.ready import hubspot, pipedrive, salesforce

__all__ = ["hubspot", "pipedrive", "salesforce"]
