"""Commands of every service. Maintained by the template: add your own to an app of yours."""
